"""Providers, traced: one client span a call, with the attributes of OpenTelemetry's GenAI conventions.

https://github.com/open-telemetry/semantic-conventions-genai
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from typing import Any, Final

import orjson
from opentelemetry.trace import Span, SpanKind

from services.inference.domain.answer_facts import answered_model, finish_reasons
from services.inference.domain.provider_usage import measured_tokens
from services.inference.ports import Piece, Provider, ProviderCall
from shared.kernel.names import KeyService, Operation
from shared.runtime.tracing import Tracing, error_type, fail, run_attributes

_OPERATIONS: Final = {Operation.CHAT: "chat", Operation.RESPONSES: "chat", Operation.EMBEDDINGS: "embeddings"}
_PROVIDERS: Final = {KeyService.GEMINI: "gcp.gemini", KeyService.XAI: "x_ai"}
"""Where the conventions' name is not ours."""


class TracedProvider:
    """See `Provider`. Of what is asked and answered nothing is told but the attributes below."""

    def __init__(self, inner: Provider, tracing: Tracing) -> None:
        self._inner = inner
        self._tracing = tracing

    async def complete(self, call: ProviderCall) -> Piece:
        with self._span(call, stream=False) as told:
            piece = await self._inner.complete(call)
            told.see(piece)
            return piece

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        with self._span(call, stream=True) as told:
            async with aclosing(self._inner.stream(call)) as pieces:
                async for piece in pieces:
                    told.see(piece)
                    yield piece

    @contextmanager
    def _span(self, call: ProviderCall, *, stream: bool) -> Iterator["_Told"]:
        """Not the current one: a stream may be closed by another task than the one that began it."""
        operation, name = _OPERATIONS[call.operation], call.model.partition("/")[2] or call.model
        used = call.key.used
        attributes: dict[str, str | bool] = {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": _PROVIDERS.get(used.service, used.service.value),
            "gen_ai.request.model": name,
            "gen_ai.request.stream": stream,
            "latchkey.key_source": used.source.value,
            **run_attributes(call),
        }
        span = self._tracing.begin(f"{operation} {name}", SpanKind.CLIENT, attributes)
        told = _Told(span, stream=stream)
        try:
            yield told
        except GeneratorExit:  # whoever heard it has heard enough
            raise
        except BaseException as error:
            fail(span, error_type(error))
            raise
        finally:
            told.end()


class _Told:
    """What is seen of one call, put on its span."""

    def __init__(self, span: Span, *, stream: bool) -> None:
        self._span = span
        self._stream = stream
        self._is_first = True
        self._model: str | None = None
        self._reasons: tuple[str, ...] = ()
        self._usage: dict[str, Any] | None = None

    def see(self, piece: Piece) -> None:
        if not self._span.is_recording():
            return
        if self._stream and self._is_first and piece.chars:
            self._span.add_event("gen_ai.first_token")
            self._is_first = False
        self._usage = piece.usage or self._usage
        try:
            body = orjson.loads(piece.text)
        except orjson.JSONDecodeError:  # no trace is worth a run
            return
        self._model = self._model or answered_model(body)
        self._reasons = finish_reasons(body) or self._reasons

    def end(self) -> None:
        tokens = measured_tokens(self._usage) if self._usage else None
        if tokens is not None:
            self._span.set_attribute("gen_ai.usage.input_tokens", tokens.prompt)
            self._span.set_attribute("gen_ai.usage.output_tokens", tokens.completion)
        if self._model is not None:
            self._span.set_attribute("gen_ai.response.model", self._model)
        if self._reasons:
            self._span.set_attribute("gen_ai.response.finish_reasons", self._reasons)
        self._span.end()
