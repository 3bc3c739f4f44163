"""`/system/nodes`: the flows, and how administrators change them."""

from typing import Any

from fastapi import APIRouter, Depends, Request
from pydantic import Field, StrictBool
from pydantic.config import JsonDict

from services.api_edge.domain.catalogue import Catalogue
from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.flows import DESCRIPTION_CHARS_MAX, Flow, FlowChange, is_flow_name
from services.api_edge.routes.docs import body_docs
from services.api_edge.routes.gate import BEARER, Gate, caller_of
from services.api_edge.routes.wire import Input, Json, Shown, moment, read_body
from services.api_edge.use_cases.known_flows import KnownFlows
from shared.kernel.errors import NotFoundError
from shared.kernel.names import KeyPolicy


def _may_be_absent(chars_min: int | None = None, chars_max: int | None = None) -> Any:
    """Describe a field that may be left out, but not be null."""
    return Field(default=None, min_length=chars_min, max_length=chars_max, json_schema_extra=_no_default)


def _no_default(schema: JsonDict) -> None:
    schema.pop("default", None)


class FlowBody(Input):
    """What is absent stays as it is."""

    key_policy: KeyPolicy = _may_be_absent()
    default_model: str = _may_be_absent()
    description: Shown = _may_be_absent(1, DESCRIPTION_CHARS_MAX)
    report_only: StrictBool = _may_be_absent()


def flows_router(gate: Gate, flows: KnownFlows, catalogue: Catalogue) -> APIRouter:
    router = APIRouter(prefix="/system/nodes", tags=["flows"], dependencies=[BEARER])

    @router.get("", response_class=Json, dependencies=[Depends(gate.caller)])
    async def list_flows(request: Request) -> Json:
        """The flows that a run can name; those for services only are shown to administrators and services."""
        role = caller_of(request).role
        shown = [_view(flow) for flow in await flows() if flow.is_shown_to(role)]
        return Json({"items": shown, "next_cursor": None})

    @router.patch(
        "/{task_name}",
        response_class=Json,
        dependencies=[Depends(gate.admin)],
        openapi_extra=body_docs(FlowBody),
    )
    async def change_flow(request: Request, task_name: str) -> Json:
        """Holds here at once, and on every other instance within a second."""
        change = _change(await read_body(request, FlowBody), catalogue)
        if not is_flow_name(task_name):
            raise NotFoundError("no such flow")
        return Json(_view(await flows.change(task_name, change, by=caller_of(request).user_id)))

    return router


def _change(body: FlowBody, catalogue: Catalogue) -> FlowChange:
    """Read what is to change. Raises BadInputError for an unknown model, or when nothing is."""
    given = body.model_dump(include=body.model_fields_set)
    if not given:
        raise BadInputError("nothing_given", ", ".join(FlowBody.model_fields))
    if "default_model" in given:
        given["default_model"] = catalogue.find(body.default_model, "default_model").id
    return FlowChange(policy=given.pop("key_policy", None), **given)


def _view(flow: Flow) -> dict[str, Any]:
    return {
        "task_name": flow.name,
        "description": flow.description,
        "key_policy": flow.policy.value,
        "default_model": flow.default_model,
        "report_only": flow.report_only,
        "updated_at": None if flow.updated_at is None else moment(flow.updated_at),
    }
