"""Flows: named kinds of run, each with its own key policy. They are data."""

from dataclasses import dataclass

import orjson

from services.api_edge.domain.errors import BadInputError
from shared.kernel.errors import ForbiddenError
from shared.kernel.names import KeyPolicy, Role

FLOW_HEADER = "Latchkey-Flow"


@dataclass(frozen=True)
class Flow:
    name: str
    policy: KeyPolicy
    default_model: str


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
        flows = (Flow(f["name"], KeyPolicy(f["policy"]), f["default_model"]) for f in data["flows"])
        return cls(tuple(flows), data["default"])

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
