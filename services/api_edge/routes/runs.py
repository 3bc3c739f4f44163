"""`/api/runs`: runs that outlive their client's connection, and what they used and cost."""

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.domain.run_call import parse_run
from services.api_edge.domain.start_run import StartRun
from services.api_edge.problems import Problems
from services.api_edge.routes.attempts import receipt_view
from services.api_edge.routes.docs import query_docs
from services.api_edge.routes.failures import occasion_of
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.run_asking import (
    MESSAGES,
    NAMED,
    idempotency_of,
    run_docs,
    session_of,
    timeout_of,
)
from services.api_edge.routes.run_events import LAST_EVENT_ID, RunEvents, event_number, has_heard_all
from services.api_edge.routes.run_views import run_view, status_of
from services.api_edge.routes.wire import Json, SessionPageQuery, read_id, read_query
from services.api_edge.use_cases.follow_run import FollowRun
from services.api_edge.use_cases.list_runs import ListRuns
from services.api_edge.use_cases.read_receipt import ReadReceipt
from services.api_edge.use_cases.session_usage import SessionUsage
from services.api_edge.use_cases.start_run import StartRunUseCase
from shared.kernel.ids import new_id

_DOCS: Final = run_docs(
    ("messages",),
    {
        "kind": {"enum": ["text", "json", "stream", None], "default": "text"},
        "model": {"type": ["string", "null"], "examples": ["openai/gpt-4o-mini"]},
        "messages": MESSAGES,
        **NAMED,
    },
)


@dataclass(frozen=True)
class RunUseCases:
    start: StartRunUseCase
    follow: FollowRun
    list: ListRuns
    read_receipt: ReadReceipt
    sessions: SessionUsage


def runs_router(gate: Gate, runs: RunUseCases, problems: Problems) -> APIRouter:
    router = APIRouter(prefix="/api/runs", tags=["runs"], dependencies=[BEARER])
    own = [Depends(gate.signed_in)]

    @router.post(
        "",
        status_code=202,
        response_class=Json,
        dependencies=[Depends(gate.signed_in_runner)],
        openapi_extra=_DOCS,
    )
    async def create_run(request: Request) -> Json:
        """Start a run that goes on without its client; what comes of it is at `/api/runs/{run_id}/events`."""
        run_id = request.state.run_id = new_id()
        asked = parse_run(await request.body())
        command = StartRun(
            run_id,
            caller_of(request),
            asked.call,
            asked.flow or request.headers.get(FLOW_HEADER),
            request.headers,
            kind=asked.kind,
            session_id=session_of(request, asked.session_id),
            kept=True,
            idempotency=await idempotency_of(request),
            timeout_s=timeout_of(request),
        )
        run = await runs.start(command)
        run.close()
        status = "queued"
        if run.run_id != run_id:  # the one that has its idempotency key
            status = status_of((await runs.follow.find(command.caller, run.run_id)).outcome)
        headers = {"Latchkey-Run-Id": str(run.run_id), "Location": f"/api/runs/{run.run_id}"}
        return Json({"run_id": str(run.run_id), "status": status}, 202, headers)

    @router.get("", response_class=Json, dependencies=own, openapi_extra=query_docs(SessionPageQuery))
    async def list_own_runs(request: Request) -> Json:
        """Runs that were started here or with an `Idempotency-Key`, newest first."""
        query = read_query(request, SessionPageQuery)
        page = await runs.list(
            caller_of(request).user_id,
            limit=query.limit,
            cursor=query.cursor,
            session_id=query.session_id,
        )
        return Json({"items": [run_view(run) for run in page.items], "next_cursor": page.next_cursor})

    @router.get("/{run_id}", response_class=Json, dependencies=own)
    async def read_run(request: Request, run_id: str) -> Json:
        """How a run stands; its answer once it has one."""
        found = await runs.follow.find(caller_of(request), _noted(request, run_id))
        return Json(run_view(found, problems, occasion_of(request)))

    @router.get("/{run_id}/events", response_class=Response, dependencies=own)
    async def run_events(request: Request, run_id: str) -> Response:
        """Server-sent events: `message_chunk`, `final_response`, `usage`, `error`, from the first or, with
        `Last-Event-ID`, from the next on.
        """
        after = _after(request)
        found = await runs.follow.find(caller_of(request), _noted(request, run_id))
        if found.end is not None and has_heard_all(found.end, after):
            return Response(status_code=204)  # an EventSource comes back until it is told so
        run = await runs.follow.kept(found)
        return RunEvents(
            found, run, after=after, problems=problems, occasion=occasion_of(request), sessions=runs.sessions
        )

    @router.post("/{run_id}/cancel", status_code=202, response_class=Json, dependencies=own)
    async def cancel_run(request: Request, run_id: str) -> Json:
        """Stop a run: its provider is hung up on, what it used so far is recorded. One that is over stays."""
        found = await runs.follow.find(caller_of(request), _noted(request, run_id))
        runs.follow.cancel(found)
        status = "cancelling" if found.outcome is None else status_of(found.outcome)
        return Json({"run_id": str(found.record.run_id), "status": status}, 202)

    @router.get("/{run_id}/receipt", response_class=Json, dependencies=own)
    async def receipt(request: Request, run_id: str) -> Json:
        """What the run used and cost; `pending` until it is over and billing has seen it."""
        found = await runs.read_receipt(caller_of(request), _noted(request, run_id))
        attempts = found.receipt.attempts
        name = attempts[0].usage.session_id if attempts else None
        session = await runs.sessions(caller_of(request).user_id, name)
        told = receipt_view(attempts, session, is_final=found.is_final)
        return Json({"run_id": str(found.receipt.run_id), **told})

    return router


def _noted(request: Request, run_id: str) -> UUID:
    found = request.state.run_id = read_id(run_id)
    return found


def _after(request: Request) -> int:
    """Return the number of the last event that the client has had."""
    return event_number(request.headers.get(LAST_EVENT_ID, "0").strip())
