"""`POST /v1/chat/completions`: OpenAI's chat, plain and streamed. The hot path: no body model, no copies."""

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api_edge.domain.chat import parse_chat
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.json_text import with_member
from services.api_edge.problems import Problems
from services.api_edge.routes.event_stream import EventStream
from services.api_edge.routes.failures import occasion_of
from services.api_edge.routes.gate import BEARER_DOCS, Gate, caller_of
from services.api_edge.routes.key_usage import METADATA, run_metadata
from services.api_edge.routes.run_asking import RUN_PARAMETERS, idempotency_of, session_of, timeout_of
from services.api_edge.routes.run_watch import run_headers, watched
from services.api_edge.use_cases.running import Running
from services.api_edge.use_cases.session_usage import SessionTotals, SessionUsage
from services.api_edge.use_cases.start_run import StartRun, StartRunUseCase
from shared.contracts.runs import RunChunk, RunCompleted
from shared.kernel.errors import InternalError
from shared.kernel.ids import new_id

_DOCS: dict[str, Any] = {
    **BEARER_DOCS,
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["messages"],
                    "properties": {
                        "model": {
                            "type": "string",
                            "description": "The flow's default when absent.",
                            "examples": ["openai/gpt-4o-mini"],
                        },
                        "messages": {"type": "array", "items": {"type": "object"}},
                        "stream": {"type": "boolean", "default": False},
                    },
                    "additionalProperties": True,
                }
            }
        },
    },
    "parameters": RUN_PARAMETERS,
}


def chat_router(
    gate: Gate, start_run: StartRunUseCase, problems: Problems, sessions: SessionUsage
) -> APIRouter:
    router = APIRouter(tags=["runs"])

    async def create_chat_completion(request: Request) -> Response:
        """OpenAI's chat completions. Everything but `model` and `stream` goes to the provider as it is."""
        run_id = request.state.run_id = new_id()
        await gate.runner(request)
        caller, call = caller_of(request), parse_chat(await request.body())
        session_id = session_of(request)
        run = await start_run(
            StartRun(
                run_id,
                caller,
                call,
                request.headers.get(FLOW_HEADER),
                request.headers,
                session_id=session_id,
                idempotency=await idempotency_of(request),
                timeout_s=timeout_of(request),
            )
        )
        request.state.run_id = run.run_id

        async def session(completed: RunCompleted) -> SessionTotals | None:
            return await sessions(caller.user_id, session_id, run.run_id, completed.usage)

        if call.stream:
            return EventStream(
                run, problems, occasion_of(request), include_usage=call.include_usage, session=session
            )
        return await _plain(request, run, session)

    router.add_api_route(
        "/v1/chat/completions",
        create_chat_completion,
        methods=["POST"],
        response_class=Response,
        openapi_extra=_DOCS,
    )
    return router


async def _plain(
    request: Request, run: Running, session: Callable[[RunCompleted], Awaitable[SessionTotals | None]]
) -> Response:
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
