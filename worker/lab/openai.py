"""Stands in for OpenAI: the models list and chat completions; sound is in `openai_audio`, and the
model that hears and speaks by itself in `openai_realtime`.

Wire format: https://platform.openai.com/docs/api-reference/chat and .../chat-streaming, errors:
https://platform.openai.com/docs/guides/error-codes
"""

import json
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from worker.lab import openai_audio, openai_errors, openai_realtime, reception, script
from worker.lab.behaviour import Fault, Record
from worker.lab.conversation import ToolCall
from worker.lab.reception import DESK

PROVIDER = "openai-llm"
MODELS = ("gpt-4.1", "gpt-4o-mini", "gpt-4o-mini-tts", "gpt-4o-mini-transcribe", "whisper-1")


@dataclass(frozen=True, slots=True)
class Question:
    """What a request asks, once it is known to be well formed."""

    model: str
    messages: list[dict[str, Any]]
    offered: frozenset[str]
    is_streamed: bool
    wants_usage: bool


def add_routes(router: web.UrlDispatcher) -> None:
    router.add_get("/openai/v1/models", _list_models)
    router.add_post("/openai/v1/chat/completions", _complete)
    openai_audio.add_routes(router)
    openai_realtime.add_routes(router)
    router.add_route("*", "/openai/{path:.*}", _unknown)


async def _unknown(request: web.Request) -> web.StreamResponse:
    message = f"Invalid URL ({request.method} /{request.match_info['path'][:80]})"
    raise openai_errors.refuse(404, message)


async def _list_models(request: web.Request) -> web.Response:
    record = await reception.admit(
        request, PROVIDER, openai_errors.key(request), openai_errors.refuse
    )
    record.answer()
    models = [{"id": name, "object": "model", "owned_by": "voicefleet"} for name in MODELS]
    return web.json_response({"object": "list", "data": models})


async def _complete(request: web.Request) -> web.StreamResponse:
    record = await reception.admit(
        request, PROVIDER, openai_errors.key(request), openai_errors.refuse
    )
    desk = request.app[DESK]
    question = parse(await request.read())
    reply = script.reply(desk.conversation, question.messages, question.offered)
    record.note = reply.note
    await record.delay(desk.behaviours.latency_seconds(PROVIDER))
    if question.is_streamed:
        return await _stream(request, record, question, reply)
    record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
    return web.json_response(_whole(question, reply))


def parse(body: bytes) -> Question:
    """:raises HTTPException: if OpenAI would refuse it too."""
    document = reception.parse_object(body)
    if document is None:
        raise openai_errors.refuse(400, "We could not parse the JSON body of your request.")
    model, messages = document.get("model"), document.get("messages")
    if not isinstance(model, str) or not model:
        raise openai_errors.refuse(400, "you must provide a model parameter")
    if not isinstance(messages, list) or not messages:
        raise openai_errors.refuse(400, "Invalid 'messages': expected a non-empty array.")
    if not all(isinstance(m, dict) and isinstance(m.get("role"), str) for m in messages):
        raise openai_errors.refuse(400, "Invalid 'messages': expected objects with a role.")
    options = document.get("stream_options")
    return Question(
        model=model,
        messages=messages,
        offered=frozenset() if document.get("tool_choice") == "none" else _offered(document),
        is_streamed=document.get("stream") is True,
        wants_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _offered(document: dict[str, Any]) -> frozenset[str]:
    tools = document.get("tools")
    functions = (
        [tool.get("function") for tool in tools or () if isinstance(tool, dict)]
        if isinstance(tools, list)
        else []
    )
    return frozenset(str(f.get("name")) for f in functions if isinstance(f, dict))


async def _stream(
    request: web.Request, record: Record, question: Question, reply: script.Reply
) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
    response.headers["x-request-id"] = f"req_{uuid.uuid4().hex}"
    await response.prepare(request)
    chunks = list(_chunks(question, reply))
    if record.fault is Fault.CUT:
        chunks = chunks[: len(chunks) // 2]
    for chunk in chunks:
        await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        record.answer()
    if record.fault is Fault.CUT:
        reception.hang_up(request)
        return response
    await response.write(b"data: [DONE]\n\n")
    return response


def _chunks(question: Question, reply: script.Reply) -> Iterator[dict[str, Any]]:
    common = _common("chat.completion.chunk", question)
    deltas = [{"role": "assistant", "content": None if reply.tools else ""}, *_deltas(reply)]
    for delta in deltas:
        yield {**common, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
    end = {"index": 0, "delta": {}, "finish_reason": _finish_reason(reply)}
    yield {**common, "choices": [end]}
    if question.wants_usage:
        yield {**common, "choices": [], "usage": _usage(question, reply)}


def _deltas(reply: script.Reply) -> Iterator[dict[str, Any]]:
    """Text comes word by word; a tool's arguments in two pieces, as real ones come in several."""
    for index, word in enumerate(reply.text.split(" ") if reply.text else ()):
        yield {"content": word if index == 0 else f" {word}"}
    for index, tool in enumerate(reply.tools):
        call = {**_call(tool), "index": index}
        arguments = call["function"]["arguments"]
        call["function"]["arguments"] = ""
        yield {"tool_calls": [call]}
        half = len(arguments) // 2
        for piece in (arguments[:half], arguments[half:]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _whole(question: Question, reply: script.Reply) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None, "refusal": None}
    if reply.tools:
        message["tool_calls"] = [_call(tool) for tool in reply.tools]
    choice = {"index": 0, "message": message, "finish_reason": _finish_reason(reply)}
    common = _common("chat.completion", question)
    return {**common, "choices": [choice], "usage": _usage(question, reply)}


def _common(kind: str, question: Question) -> dict[str, Any]:
    identity = f"chatcmpl-{uuid.uuid4().hex}"
    return {"id": identity, "object": kind, "created": int(time.time()), "model": question.model}


def _call(tool: ToolCall) -> dict[str, Any]:
    function = {"name": tool.name, "arguments": json.dumps(tool.arguments)}
    return {"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function}


def _finish_reason(reply: script.Reply) -> str:
    return "tool_calls" if reply.tools else "stop"


def _usage(question: Question, reply: script.Reply) -> dict[str, int]:
    """A token is about four letters: https://platform.openai.com/tokenizer"""
    prompt = sum(len(script.text_of(message)) for message in question.messages) // 4 + 1
    said = reply.text + "".join(json.dumps(tool.arguments) + tool.name for tool in reply.tools)
    completion = len(said) // 4 + 1
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
