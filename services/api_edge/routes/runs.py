"""`/api/runs`: what a run used and cost."""

from typing import Any

from fastapi import APIRouter, Depends, Request

from services.api_edge.routes.attempts import attempt_view, totals_view
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.key_usage import key_usage, uses_of
from services.api_edge.routes.wire import Json, read_id
from services.api_edge.use_cases.read_receipt import ReadReceipt, RunReceipt


def runs_router(gate: Gate, read_receipt: ReadReceipt) -> APIRouter:
    router = APIRouter(prefix="/api/runs", tags=["runs"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.get("/{run_id}/receipt", response_class=Json)
    async def receipt(request: Request, run_id: str) -> Json:
        """What the run used and cost; `pending` until it is over and billing has seen it."""
        request.state.run_id = read_id(run_id)
        return Json(_view(await read_receipt(caller_of(request), request.state.run_id)))

    return router


def _view(found: RunReceipt) -> dict[str, Any]:
    attempts = found.receipt.attempts
    return {
        "run_id": str(found.receipt.run_id),
        "status": "final" if found.is_final else "pending",
        "attempts": [attempt_view(attempt) for attempt in attempts],
        "totals": totals_view(attempts),
        **key_usage(uses_of(attempts)),
    }
