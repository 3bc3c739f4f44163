"""Responses of providers that have chat completions only: asked for as a chat, told as a Response.

A provider that turns out to have none (HTTP 404 or 405: nothing was generated) is asked for a chat, too; its
own error stands when no chat can ask for the same, for it may have missed something else.
"""

import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import orjson

from services.inference.adapters.cutting import without_key
from services.inference.adapters.provider_errors import provider_errors
from services.inference.domain.failures import EndpointMissingError
from services.inference.domain.providers import ProviderSpec
from services.inference.domain.response_events import ResponseEvents, response_of
from services.inference.domain.response_object import empty_response
from services.inference.domain.responses_as_chat import chat_of
from services.inference.ports import Piece, Provider, ProviderCall
from shared.kernel.errors import InvalidRequestError
from shared.kernel.ids import new_id
from shared.kernel.names import KeyService, Operation

Body = dict[str, Any]


class MappedResponses:
    """See `Provider`. Raises InvalidRequestError for what no chat can ask for."""

    def __init__(self, inner: Provider, specs: Mapping[KeyService, ProviderSpec]) -> None:
        self._inner = inner
        self._specs = specs

    async def complete(self, call: ProviderCall) -> Piece:
        missing: EndpointMissingError | None = None
        if not self._is_mapped(call):
            try:
                return await self._inner.complete(call)
            except EndpointMissingError as error:
                if call.operation is not Operation.RESPONSES:
                    raise
                missing = error.with_traceback(None)  # else it would hold this frame, which holds it
        answer = await self._inner.complete(self._chat(call, missing))
        with provider_errors(call):
            response = response_of(orjson.loads(answer.text), _begun(call))
            return replace(answer, text=_text(call, response))

    def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        return self._stream(call) if call.operation is Operation.RESPONSES else self._inner.stream(call)

    async def _stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        missing: EndpointMissingError | None = None
        if not self._is_mapped(call):
            try:
                async with aclosing(self._inner.stream(call)) as pieces:
                    async for piece in pieces:
                        yield piece
            except EndpointMissingError as error:
                missing = error.with_traceback(None)  # else it would hold this frame, which holds it
            else:
                return
        with provider_errors(call):
            async with aclosing(self._inner.stream(self._chat(call, missing))) as pieces:
                async for piece in _events(call, pieces):
                    yield piece

    def _is_mapped(self, call: ProviderCall) -> bool:
        return call.operation is Operation.RESPONSES and call.operation in self._spec(call).lacks

    def _chat(self, call: ProviderCall, missing: EndpointMissingError | None) -> ProviderCall:
        spec = self._spec(call)
        try:
            body = chat_of(call.body, spec.limit_parameter)
        except InvalidRequestError as error:
            raise missing or InvalidRequestError(error.message, service=spec.service) from None
        return replace(call, body=body, operation=Operation.CHAT)

    def _spec(self, call: ProviderCall) -> ProviderSpec:
        return self._specs[call.key.used.service]


async def _events(call: ProviderCall, chunks: AsyncGenerator[Piece, None]) -> AsyncGenerator[Piece, None]:
    """Tell a chat's chunks as events; what a chunk brought is counted with the first one that it makes."""
    events = ResponseEvents(_begun(call))
    usage: Body | None = None
    async for chunk in chunks:
        usage, chars = chunk.usage or usage, chunk.chars
        for event in events.of(orjson.loads(chunk.text)):
            yield Piece(_text(call, event), chars, chunk.usage)
            chars = 0
    for event in events.end():
        yield Piece(_text(call, event), 0, usage)


def _begun(call: ProviderCall) -> Body:
    response_id = f"resp_{(call.run_id or new_id()).hex}"
    return empty_response(response_id, call.body, model=call.model, created_at=int(time.time()))


def _text(call: ProviderCall, body: Body) -> str:
    """What came in pieces is whole here, so the key is looked for once more."""
    return without_key(call.key.secret.reveal(), orjson.dumps(body).decode(), body)
