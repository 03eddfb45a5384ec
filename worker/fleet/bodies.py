"""What a stranger answers, as far as anybody would listen."""

import aiohttp

CHUNK_BYTES = 64 * 1024


async def read(response: aiohttp.ClientResponse, longest_bytes: int) -> bytes:
    """:raises ValueError: if there is more of it."""
    body = b""
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        body += chunk
        if len(body) > longest_bytes:
            raise ValueError("its answer does not end")
    return body
