"""Runs in OpenAI's own forms: chat, Responses, embeddings. The hot path: no body model, no copies."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api_edge.domain.chat import OpenAICall, parse_chat, parse_embeddings, parse_responses
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.json_text import with_member
from services.api_edge.domain.sse import CHAT_STREAM, RESPONSE_STREAM, Framing
from services.api_edge.domain.start_run import StartRun
from services.api_edge.problems import Problems
from services.api_edge.routes.failures import occasion_of
from services.api_edge.routes.gate import BEARER_DOCS, Gate, caller_of
from services.api_edge.routes.key_usage import METADATA, run_metadata
from services.api_edge.routes.openai_stream import OpenAIStream
from services.api_edge.routes.run_asking import MESSAGES, idempotency_of, run_docs, session_of, timeout_of
from services.api_edge.routes.run_watch import run_headers, watched
from services.api_edge.use_cases.running import Running
from services.api_edge.use_cases.session_usage import SessionTotals, SessionUsage
from services.api_edge.use_cases.start_run import StartRunUseCase
from shared.contracts.runs import RunChunk, RunCompleted
from shared.kernel.errors import InternalError
from shared.kernel.ids import new_id

Session = Callable[[RunCompleted], Awaitable[SessionTotals | None]]

_MODEL: Final = {"type": ["string", "null"], "examples": ["openai/gpt-4o-mini"]}
_STREAM: Final = {"type": ["boolean", "null"], "default": False}


@dataclass(frozen=True)
class _Endpoint:
    """`required` and `properties`: what is looked at of a body; all else goes to the provider as it is."""

    path: str
    parse: Callable[[bytes], OpenAICall]
    framing: Framing
    summary: str
    required: tuple[str, ...]
    properties: Mapping[str, Any]


_ENDPOINTS: Final = (
    _Endpoint(
        "/v1/chat/completions",
        parse_chat,
        CHAT_STREAM,
        "OpenAI's chat completions. Without a `model` the flow's default is called.",
        ("messages",),
        {
            "model": _MODEL,
            "messages": MESSAGES,
            "stream": _STREAM,
        },
    ),
    _Endpoint(
        "/v1/responses",
        parse_responses,
        RESPONSE_STREAM,
        "OpenAI's Responses: passed through to providers that have them, mapped to chat completions for "
        "others. What no chat can ask for is then a 400 that names it.",
        ("input",),
        {
            "model": _MODEL,
            "input": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
            "stream": _STREAM,
        },
    ),
    _Endpoint(
        "/v1/embeddings",
        parse_embeddings,
        CHAT_STREAM,
        "OpenAI's embeddings, at providers that have them.",
        ("model", "input"),
        {
            "model": {"type": "string", "examples": ["openai/text-embedding-3-small"]},
            "input": {"anyOf": [{"type": "string"}, {"type": "array"}]},
        },
    ),
)


def openai_router(
    gate: Gate, start_run: StartRunUseCase, problems: Problems, sessions: SessionUsage
) -> APIRouter:
    router = APIRouter(tags=["runs"])

    def route(endpoint: _Endpoint) -> None:
        async def create(request: Request) -> Response:
            request.state.run_id = new_id()
            await gate.runner(request)
            call = endpoint.parse(await request.body())
            run = await start_run(await _asked(request, call))
            request.state.run_id = run.run_id
            session = _session(request, run, sessions)
            if not call.stream:
                return await _plain(request, run, session)
            return OpenAIStream(
                run,
                problems,
                occasion_of(request),
                include_usage=call.include_usage,
                framing=endpoint.framing,
                session=session,
            )

        name = f"create_{endpoint.path.removeprefix('/v1/').replace('/', '_')}"
        router.add_api_route(
            endpoint.path,
            create,
            methods=["POST"],
            name=name,
            summary=name.replace("_", " ").capitalize(),
            description=endpoint.summary,
            response_class=Response,
            openapi_extra={**BEARER_DOCS, **run_docs(endpoint.required, endpoint.properties)},
        )

    for endpoint in _ENDPOINTS:
        route(endpoint)
    return router


async def _asked(request: Request, call: OpenAICall) -> StartRun:
    return StartRun(
        request.state.run_id,
        caller_of(request),
        call,
        request.headers.get(FLOW_HEADER),
        request.headers,
        session_id=session_of(request),
        idempotency=await idempotency_of(request),
        timeout_s=timeout_of(request),
    )


def _session(request: Request, run: Running, sessions: SessionUsage) -> Session:
    user_id, session_id = caller_of(request).user_id, session_of(request)

    async def session(completed: RunCompleted) -> SessionTotals | None:
        return await sessions(user_id, session_id, run.run_id, completed.usage)

    return session


async def _plain(request: Request, run: Running, session: Session) -> Response:
    with watched(run, request.receive):
        try:
            end = await run.next()
            while isinstance(end, RunChunk):
                end = await run.next()
        finally:
            request.state.key_source = run.key_source
    if end.response is None:
        raise InternalError("the run ended without its response")
    answer = with_member(end.response, METADATA, run_metadata(run.run_id, end, await session(end)))
    return Response(answer.encode(), headers=run_headers(run, end), media_type="application/json")
