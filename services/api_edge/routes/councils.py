"""`/api/councils`: several models asked side by side, and one answer made of theirs."""

import asyncio
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.api_edge.domain.council import MEMBERS_MAX, Council, parse_council
from services.api_edge.domain.flows import FLOW_HEADER
from services.api_edge.problems import Problems
from services.api_edge.routes.attempts import receipt_view
from services.api_edge.routes.council_events import CouncilEvents, Telling, read_place
from services.api_edge.routes.council_views import called_view, council_item, council_status, council_view
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
from services.api_edge.routes.run_events import LAST_EVENT_ID, has_heard_all
from services.api_edge.routes.run_views import status_of
from services.api_edge.routes.wire import Json, SessionPageQuery, read_id, read_query
from services.api_edge.use_cases.call_council import CallCouncil, CallCouncilUseCase
from services.api_edge.use_cases.follow_council import FollowCouncil
from services.api_edge.use_cases.hold_council import HoldCouncil
from services.api_edge.use_cases.list_councils import ListCouncils
from services.api_edge.use_cases.read_receipt import ReadReceipt
from services.api_edge.use_cases.session_usage import SessionUsage
from shared.kernel.errors import PlatformError
from shared.kernel.ids import new_id
from shared.runtime.logs import get_logger

_DOCS: Final = run_docs(
    ("members", "messages"),
    {
        "members": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MEMBERS_MAX,
            "description": "The models that are asked, each for itself.",
            "examples": [["openai/gpt-4o-mini", "anthropic/claude-sonnet-4-5"]],
        },
        "model": {
            "type": ["string", "null"],
            "description": "The model that makes their answers into one.",
            "examples": ["openai/gpt-4o-mini"],
        },
        "messages": MESSAGES,
        **NAMED,
    },
)


@dataclass(frozen=True)
class CouncilUseCases:
    call: CallCouncilUseCase
    follow: FollowCouncil
    list: ListCouncils
    hold: HoldCouncil
    read_receipt: ReadReceipt
    sessions: SessionUsage


def council_given_up(council_id: UUID, error: Exception) -> None:
    """Note that nobody will ask for a council's synthesis any more."""
    code = error.code if isinstance(error, PlatformError) else "internal_error"
    unexpected = None if isinstance(error, PlatformError) else error
    get_logger().warning("a council is given up", council_id=str(council_id), code=code, exc_info=unexpected)


def councils_router(gate: Gate, councils: CouncilUseCases, problems: Problems) -> APIRouter:
    router = APIRouter(prefix="/api/councils", tags=["councils"], dependencies=[BEARER])
    own = [Depends(gate.signed_in)]
    telling = Telling(councils.follow, problems, councils.sessions)

    @router.post(
        "",
        status_code=202,
        response_class=Json,
        dependencies=[Depends(gate.signed_in_runner)],
        openapi_extra=_DOCS,
    )
    async def call_council(request: Request) -> Json:
        """Ask several models the same side by side, and one to make their answers into one.

        Members whose provider has no usable key are skipped, and named. A key as `X-Provider-Key` is for
        models of one provider; a session key there is passed over for others.
        """
        council_id, call = new_id(), parse_council(await request.body())
        await gate.count_runs(request, len(call.members))
        council = await councils.call(
            CallCouncil(
                council_id,
                caller_of(request),
                call,
                call.flow or request.headers.get(FLOW_HEADER),
                request.headers,
                session_id=session_of(request, call.session_id),
                idempotency=await idempotency_of(request),
                timeout_s=timeout_of(request),
            )
        )
        headers = {"Location": f"/api/councils/{council.council_id}"}
        if council.council_id != council_id:  # the one that has its idempotency key
            return Json(council_item(council, await councils.follow.outcomes(council)), 202, headers)
        return Json({**called_view(council), "status": "queued"}, 202, headers)

    @router.get("", response_class=Json, dependencies=own, openapi_extra=query_docs(SessionPageQuery))
    async def list_own_councils(request: Request) -> Json:
        """Councils, newest first: how each stands, and its members. What they said is at each of them."""
        query = read_query(request, SessionPageQuery)
        listed = await councils.list(
            caller_of(request).user_id,
            limit=query.limit,
            cursor=query.cursor,
            session_id=query.session_id,
        )
        items = [council_item(council, listed.outcomes) for council in listed.page.items]
        return Json({"items": items, "next_cursor": listed.page.next_cursor})

    @router.get("/{council_id}", response_class=Json, dependencies=own)
    async def read_council(request: Request, council_id: str) -> Json:
        """How a council stands: every member, the one answer once there is one, keys, tokens and cost."""
        council = await found(request, council_id)
        return Json(
            council_view(council, await councils.follow.runs(council), problems, occasion_of(request))
        )

    @router.get("/{council_id}/events", response_class=Response, dependencies=own)
    async def council_events(request: Request, council_id: str) -> Response:
        """Server-sent events: `member_skipped`, `member_chunk`, `member_completed`, `member_failed`; then, as
        of a run, `message_chunk`, `final_response`, `usage`, `error`. `Last-Event-ID` goes on from there.
        """
        council = await found(request, council_id)
        after = read_place(request.headers.get(LAST_EVENT_ID), council)
        synthesis = await councils.follow.run(council, council.synthesis_id)
        if synthesis and synthesis.end and has_heard_all(synthesis.end, after[-1]):
            return Response(status_code=204)
        return CouncilEvents(council, telling, occasion_of(request), after=after)

    @router.post("/{council_id}/cancel", status_code=202, response_class=Json, dependencies=own)
    async def cancel_council(request: Request, council_id: str) -> Json:
        """Stop all its runs, and what was to follow. What they used is recorded; one that is over stays."""
        council = await councils.follow.find(caller_of(request), read_id(council_id))
        before = council_status(council, await councils.follow.cancel(council))
        status = "cancelling" if before == status_of(None) else before
        return Json({"council_id": str(council.council_id), "status": status}, 202)

    @router.get("/{council_id}/receipt", response_class=Json, dependencies=own)
    async def council_receipt(request: Request, council_id: str) -> Json:
        """What all its runs used and cost; `pending` until the last is over and billing has seen it."""
        caller, council = caller_of(request), await found(request, council_id)
        runs = await councils.follow.runs(council)
        receipts = await asyncio.gather(*(councils.read_receipt(caller, run_id) for run_id in runs))
        attempts = [attempt for found in receipts for attempt in found.receipt.attempts]
        is_final = council.question is None and all(found.is_final for found in receipts)
        session = await councils.sessions(caller.user_id, council.session_id)
        told = receipt_view(attempts, session, is_final=is_final)
        return Json({"council_id": str(council.council_id), **told})

    async def found(request: Request, council_id: str) -> Council:
        """Whoever asks for a council has it go on, should the edge that it was called at be gone."""
        council = await councils.follow.find(caller_of(request), read_id(council_id))
        councils.hold.asked_for(council)
        return council

    return router
