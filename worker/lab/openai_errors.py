"""OpenAI's errors, which clients take apart: https://platform.openai.com/docs/guides/error-codes"""

from aiohttp import web

from worker.lab import reception

# The usual sentence, type and code of each status.
USUAL = {
    400: ("Your request is malformed.", "invalid_request_error", None),
    401: ("Incorrect API key provided.", "invalid_request_error", "invalid_api_key"),
    404: ("Invalid URL", "invalid_request_error", None),
    429: ("Rate limit reached for requests.", "requests", "rate_limit_exceeded"),
    500: ("The server had an error while processing your request.", "server_error", None),
}


def refuse(status: int, message: str) -> web.HTTPException:
    usual, kind, code = USUAL[status]
    body = {"message": message or usual, "type": kind, "param": None, "code": code}
    return reception.refusal(status, {"error": body})


def key(request: web.Request) -> str:
    scheme, _, value = request.headers.get("Authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""
