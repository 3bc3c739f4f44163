"""Decide what a run is: its flow, its model, its user's own parameters."""

from dataclasses import replace

from services.api_edge.domain.catalogue import Catalogue, Model
from services.api_edge.domain.chat import with_preferred
from services.api_edge.domain.flows import Flow
from services.api_edge.domain.start_run import StartRun
from services.api_edge.ports import PreferenceStore
from services.api_edge.use_cases.known_flows import KnownFlows
from shared.kernel.names import Operation


class DecideRun:
    def __init__(self, flows: KnownFlows, catalogue: Catalogue, preferences: PreferenceStore) -> None:
        self._flows = flows
        self._catalogue = catalogue
        self._preferences = preferences

    async def __call__(self, command: StartRun) -> tuple[StartRun, Flow, Model]:
        """Return a run with its user's own parameters, its flow, and the model that it takes.

        Raises BadInputError, ForbiddenError, DatabaseUnavailableError.
        """
        flow = (await self._flows()).named(command.flow, command.caller.role)
        command = await self._with_preferences(command)
        asked = command.call.model
        return command, flow, self._catalogue.find(flow.default_model if asked is None else asked)

    async def _with_preferences(self, command: StartRun) -> StartRun:
        """A run that names neither model nor flow takes its user's own; the body's parameters go first."""
        call = command.call
        is_chat = call.operation is Operation.CHAT
        if call.model is not None or command.flow is not None or not is_chat or command.caller.is_anonymous:
            return command
        chosen = await self._preferences.find(command.caller.user_id)
        if chosen.model is None:
            return command
        provider = self._catalogue.find(chosen.model).provider
        body = with_preferred(call.body, chosen.parameters, provider)
        return replace(command, call=replace(call, model=chosen.model, body=body))
