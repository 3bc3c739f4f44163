"""`POST /v1/chat/completions`: OpenAI's chat, plain and streamed. The hot path: no body model, no copies."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api_edge.domain.chat import parse_chat
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.json_text import with_member
from services.api_edge.domain.request_keys import KEY_HEADERS
from services.api_edge.problems import Problems
from services.api_edge.routes.event_stream import EventStream
from services.api_edge.routes.failures import occasion_of
from services.api_edge.routes.gate import BEARER_DOCS, Gate, caller_of
from services.api_edge.routes.key_usage import METADATA, run_metadata
from services.api_edge.routes.run_watch import run_headers, watched
from services.api_edge.use_cases.active_run import ActiveRun
from services.api_edge.use_cases.start_run import StartRun, StartRunUseCase
from shared.contracts.runs import RunChunk
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
    "parameters": [
        {"in": "header", "name": FLOW_HEADER, "schema": {"type": "string", "default": "chat"}},
        *({"in": "header", "name": name, "schema": {"type": "string"}} for name in KEY_HEADERS),
    ],
}


def chat_router(gate: Gate, start_run: StartRunUseCase, problems: Problems) -> APIRouter:
    router = APIRouter(tags=["runs"])

    async def create_chat_completion(request: Request) -> Response:
        """OpenAI's chat completions. Everything but `model` and `stream` goes to the provider as it is."""
        run_id = request.state.run_id = new_id()
        await gate.caller(request)
        call = parse_chat(await request.body())
        flow, headers = request.headers.get(FLOW_HEADER), request.headers
        run = await start_run(StartRun(run_id, caller_of(request), call, flow, headers))
        if call.stream:
            return EventStream(run, problems, occasion_of(request), include_usage=call.include_usage)
        return await _plain(request, run)

    router.add_api_route(
        "/v1/chat/completions",
        create_chat_completion,
        methods=["POST"],
        response_class=Response,
        openapi_extra=_DOCS,
    )
    return router


async def _plain(request: Request, run: ActiveRun) -> Response:
    with watched(run, request.receive):
        try:
            end = await run.next()
            while isinstance(end, RunChunk):
                end = await run.next()
        finally:
            request.state.key_source = run.key_source
    if end.response is None:
        raise InternalError("the run ended without its response")
    answer = with_member(end.response, METADATA, run_metadata(run.run_id, end))
    return Response(answer.encode(), headers=run_headers(run), media_type="application/json")
