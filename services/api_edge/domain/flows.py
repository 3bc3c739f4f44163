"""Flows: named kinds of run, each with its own key policy. They are data."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import orjson

from services.api_edge.domain.errors import BadInputError
from services.api_edge.domain.identity import Caller
from shared.kernel.errors import ForbiddenError, UserApiKeyRequiredError
from shared.kernel.names import KeyPolicy, KeyService, Role

FLOW_HEADER = "Latchkey-Flow"
DESCRIPTION_CHARS_MAX: Final = 500
_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")


@dataclass(frozen=True)
class Flow:
    """`report_only`: the policy is not enforced, only reported on. `updated_at`: None for one never kept."""

    name: str
    policy: KeyPolicy
    default_model: str
    description: str = ""
    report_only: bool = False
    updated_at: datetime | None = None

    def is_shown_to(self, role: Role) -> bool:
        return self.policy is not KeyPolicy.SYSTEM or role is not Role.USER


@dataclass(frozen=True)
class FlowChange:
    """What an administrator decides anew; None leaves it as it is."""

    policy: KeyPolicy | None = None
    default_model: str | None = None
    description: str | None = None
    report_only: bool | None = None


@dataclass(frozen=True)
class RunTerms:
    """What a run may be served with."""

    policy: KeyPolicy
    report_only: bool


class Flows:
    """The known flows. Raises ValueError for two of one name, or a default that is none of them."""

    def __init__(self, flows: tuple[Flow, ...], default: str) -> None:
        self._flows = {flow.name: flow for flow in flows}
        self._default = default
        if len(self._flows) != len(flows) or default not in self._flows:
            raise ValueError("flows need names of their own and a default among them")

    @classmethod
    def read(cls, text: bytes) -> "Flows":
        data = orjson.loads(text)
        flows = (
            Flow(f["task_name"], KeyPolicy(f["key_policy"]), f["default_model"], f["description"])
            for f in data["flows"]
        )
        return cls(tuple(flows), data["default"])

    def __iter__(self) -> Iterator[Flow]:
        return iter(self._flows.values())

    def with_all(self, flows: tuple[Flow, ...]) -> "Flows":
        """Return these flows with others beside them or, by name, in their place."""
        return Flows(tuple({**self._flows, **{flow.name: flow for flow in flows}}.values()), self._default)

    def named(self, name: str | None, role: Role) -> Flow:
        """Return a flow by name, the default one for None.

        Raises BadInputError for an unknown one, ForbiddenError for one that only services may run.
        """
        flow = self._flows.get(self._default if name is None else name.strip())
        if flow is None:
            raise BadInputError("unknown_flow", FLOW_HEADER)
        if flow.policy is KeyPolicy.SYSTEM and role is not Role.SERVICE:
            raise ForbiddenError("only services may run this flow")
        return flow


def is_flow_name(text: str) -> bool:
    return _NAME.fullmatch(text) is not None


def run_terms(flow: Flow, caller: Caller, provider: KeyService, *, has_key: bool) -> RunTerms:
    """Return what a run may be served with. `has_key`: the client sent a key with it.

    Who is nobody has neither stored keys nor credits: their run goes on the key it came with and no other, or
    on the platform's. Raises UserApiKeyRequiredError when the flow forbids that.
    """
    if not caller.is_anonymous:
        return RunTerms(flow.policy, flow.report_only)
    if has_key:
        return RunTerms(KeyPolicy.USER_KEY_REQUIRED, report_only=False)
    if flow.policy is KeyPolicy.USER_KEY_REQUIRED:
        raise UserApiKeyRequiredError(service=provider)
    return RunTerms(KeyPolicy.SYSTEM, report_only=False)
