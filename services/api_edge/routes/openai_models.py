"""`GET /v1/models`: the catalogue in OpenAI's list shape."""

from typing import Any

from fastapi import APIRouter, Depends

from services.api_edge.domain.catalogue import Catalogue, Model
from services.api_edge.routes.gate import BEARER, Gate
from services.api_edge.routes.wire import Json
from shared.kernel.errors import NotFoundError


def openai_models_router(gate: Gate, catalogue: Catalogue) -> APIRouter:
    router = APIRouter(prefix="/v1/models", tags=["models"], dependencies=[BEARER, Depends(gate.caller)])

    def describe(model: Model) -> dict[str, Any]:
        return {
            "id": model.id,
            "object": "model",
            "created": catalogue.created,
            "owned_by": model.provider.value,
        }

    @router.get("", response_class=Json)
    async def list_models() -> Json:
        return Json({"object": "list", "data": [describe(model) for model in catalogue]})

    @router.get("/{model:path}", response_class=Json)
    async def get_model(model: str) -> Json:
        if (known := catalogue.listed(model)) is None:
            raise NotFoundError("no such model")
        return Json(describe(known))

    return router
