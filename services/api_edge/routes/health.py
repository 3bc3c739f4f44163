"""`/healthz`: this process lives. `/readyz`: the whole platform can serve, or what is missing."""

from fastapi import APIRouter

from services.api_edge.routes.wire import Json
from services.api_edge.use_cases.check_readiness import CheckReadiness, PartState


def health_router(check_readiness: CheckReadiness) -> APIRouter:
    router = APIRouter(tags=["health"])

    @router.get("/healthz", response_class=Json)
    async def healthz() -> Json:
        return Json({"status": "ok"})

    @router.get("/readyz", response_class=Json)
    async def readyz() -> Json:
        parts = await check_readiness()
        ready = all(state is PartState.OK for state in parts.values())
        missing = [name for name, state in parts.items() if state is PartState.MISSING]
        body = {"status": "ready" if ready else "unavailable", "missing": missing, "parts": dict(parts)}
        return Json(body, 200 if ready else 503, None if ready else {"Retry-After": "1"})

    return router
