"""What refuses to register a worker does it as livekit-server would: by closing the connection."""

import aiohttp
from aiohttp import WSMsgType
from livekit import api

from voicefleet.lab.compare.outages import refusing


async def test_every_connection_is_taken_closed_and_counted() -> None:
    async with refusing() as server, aiohttp.ClientSession() as session:
        for _ in range(3):
            async with session.ws_connect(f"{server.url}/agent") as socket:
                await socket.send_bytes(b"register")
                assert (await socket.receive()).type is WSMsgType.CLOSE
        assert server.connects == 3


async def test_it_passes_for_a_livekit_that_takes_the_key() -> None:
    async with refusing() as server, api.LiveKitAPI(server.url, "key", "s" * 40) as client:
        answer = await client.room.list_rooms(api.ListRoomsRequest(names=["-"]))
    assert list(answer.rooms) == []
