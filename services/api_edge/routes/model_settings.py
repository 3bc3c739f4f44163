"""`/api/model-settings`: the model that a user's runs take when they name none."""

from typing import Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import ConfigDict, Field

from services.api_edge.domain.errors import BadInputError
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, Shown, moment_or_none, read_body
from services.api_edge.use_cases.choose_model import ChooseModel, ModelChoice


class Parameters(Input):
    """OpenAI's, as far as they can be set once and for all; as numbers: `true` is no temperature."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, strict=True)

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, ge=0, le=1)
    max_tokens: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Of an answer; sent by the provider's own name for it, such as `max_completion_tokens`.",
    )
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None


class ModelBody(Input):
    """`model`: `provider/model`, or a bare name with its `provider` beside it, or one of the catalogue's."""

    model: Shown = Field(min_length=1, max_length=250)
    provider: Shown | None = Field(default=None, max_length=50)
    parameters: Parameters = Parameters()


def model_settings_router(gate: Gate, choose: ChooseModel) -> APIRouter:
    router = APIRouter(tags=["settings"], dependencies=[BEARER, Depends(gate.signed_in)])

    @router.get("/api/model-settings", response_class=Json)
    async def read_model_settings(request: Request) -> Json:
        """The model that a run without one takes, and whose key it would use."""
        return Json(_view(await choose.read(caller_of(request))))

    @router.post("/settings/model", response_class=Json, openapi_extra=body_docs(ModelBody))
    async def set_model(request: Request) -> Json:
        """Choose a model; its provider is asked at once how the caller's own key stands (`key_status`)."""
        body = await read_body(request, ModelBody)
        parameters = body.parameters.model_dump(exclude_none=True)
        return Json(_view(await choose.set(caller_of(request), _name(body), parameters)))

    @router.delete("/settings/model", response_class=Json)
    async def forget_model(request: Request) -> Json:
        """Choose none: the default holds again, without parameters."""
        return Json(_view(await choose.forget(caller_of(request))))

    return router


def _name(body: ModelBody) -> str:
    if body.provider is None or body.model.startswith(f"{body.provider}/"):
        return body.model
    if "/" in body.model and body.provider not in {"openrouter", "groq", "gateway"}:
        raise BadInputError("spelled_twice", "provider")
    return f"{body.provider}/{body.model}"


def _view(choice: ModelChoice) -> dict[str, Any]:
    key = choice.key
    told = {} if choice.key_status is None else {"key_status": choice.key_status}
    return {
        "provider": choice.model.provider.value,
        "model": choice.model.id,
        "parameters": dict(choice.preferences.parameters),
        "is_default": choice.is_default,
        "updated_at": moment_or_none(choice.preferences.model_set_at),
        "byok": key is not None and key.source.is_byok,
        "key_source": None if key is None else key.source.value,
        "key_service": None if key is None else key.service.value,
        **told,
    }
