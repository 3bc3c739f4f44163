"""Providers through the openai SDK: its transport, timeouts and errors, without its response models.

A key goes with each request as a header; the SDK's clients hold none, so no two users' keys can be mixed up.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import httpx2
import openai
import orjson
from openai import AsyncOpenAI, AsyncStream

from services.inference.adapters.addresses import destination
from services.inference.adapters.aiohttp_transport import telling_when_sent
from services.inference.adapters.cutting import holds_key, without_key
from services.inference.adapters.http_clients import HttpClients
from services.inference.adapters.provider_errors import provider_errors, quotable
from services.inference.adapters.request_ids import tell_request_id
from services.inference.domain.failures import error_of
from services.inference.domain.generated import chars_in
from services.inference.domain.operations import READINGS
from services.inference.domain.provider_usage import keepable
from services.inference.domain.providers import ProviderSpec, request_body
from services.inference.domain.run_end import too_long
from services.inference.domain.split_key import SplitKey
from services.inference.ports import Piece, ProviderCall
from shared.kernel.errors import InvalidRequestError, ProviderError, ProviderTimeoutError
from shared.kernel.names import KeyService

CONNECT_TIMEOUT_S: Final = 5.0
_WRITE_TIMEOUT_S: Final = 30.0
_ANSWER_BYTES_MAX: Final = 12 * 1024 * 1024
_FOREIGN_EVENT_BYTES_MAX: Final = 4 * 1024 * 1024
"""Of a stream from a caller's own address: an event takes many times its length until it has come."""
_LARGE_BYTES: Final = 1024 * 1024
_LARGE_AT_ONCE: Final = 2
_COMMAS_MAX: Final = 1_250_000
"""As many as embeddings of that length have. A value takes up to 72 bytes in memory for three that came."""
_DRAIN_S: Final = 0.2
_DONE: Final = "[DONE]"
_ABOUT_THE_MACHINE: Final = (
    *("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version"),
    *("Async", "Retry-Count", "Read-Timeout"),
)
_NOT_SENT: Final = {f"X-Stainless-{name}": openai.Omit() for name in _ABOUT_THE_MACHINE}
"""What the SDK would tell of itself. It also takes 0.07 ms of CPU a call."""


class OpenAIProvider:
    def __init__(
        self,
        specs: Mapping[KeyService, ProviderSpec],
        http: HttpClients,
        *,
        idle_timeout_s: float,
        large_timeout_s: float = 30,
    ) -> None:
        """`large_timeout_s`: for what is left of a large answer; it was generated before it is sent."""
        self._specs = specs
        self._configured = _sdk(http.configured)
        self._guarded = _sdk(http.guarded)
        self._idle_timeout_s = idle_timeout_s
        self._large_timeout_s = large_timeout_s
        self._large = asyncio.Semaphore(_LARGE_AT_ONCE)

    async def complete(self, call: ProviderCall) -> Piece:
        with provider_errors(call):
            async with self._post(call, stream=False) as response:
                body = await self._read(call, response)
            return _whole(call, body)

    async def stream(self, call: ProviderCall) -> AsyncGenerator[Piece, None]:
        with provider_errors(call):
            async with self._post(call, stream=True) as response:
                finished, split_key = False, SplitKey(call.key.secret.reveal())
                events = _events(call, response)
                async for event in events:
                    if event.data.startswith(_DONE):
                        await _drain(events)
                        return
                    chunk = _parsed(call, event.data)
                    finished = finished or READINGS[call.operation].is_finished(chunk)
                    texts = tuple(READINGS[call.operation].generated(chunk))
                    chars = chars_in(texts)
                    text = orjson.dumps(chunk).decode() if split_key.cut(texts) else event.data
                    yield _piece(call, text, chunk, chars)
                if not finished:
                    raise ProviderError("the answer was cut short", service=call.key.used.service)

    async def _read(self, call: ProviderCall, response: httpx2.Response) -> bytes:
        """Read a whole answer. Of large ones few are read at a time: the others' senders wait."""
        read, parts = bytearray(), response.aiter_bytes()
        await _read_until(_LARGE_BYTES, read, parts)
        if len(read) <= _LARGE_BYTES:
            return bytes(read)
        async with self._large:
            try:
                async with asyncio.timeout(self._large_timeout_s):
                    await _read_until(_ANSWER_BYTES_MAX, read, parts)
            except TimeoutError:
                raise ProviderTimeoutError(
                    "the answer came too slowly", service=call.key.used.service
                ) from None
            if len(read) > _ANSWER_BYTES_MAX:
                raise too_long(call.key.used.service)
            return bytes(read)

    @asynccontextmanager
    async def _post(self, call: ProviderCall, *, stream: bool) -> AsyncIterator[httpx2.Response]:
        spec = self._specs[call.key.used.service]
        if call.operation in spec.lacks:
            raise InvalidRequestError(
                f"{spec.service} has no {call.operation}: use chat completions", service=spec.service
            )
        response = await self._answered(call, spec, stream=stream)
        tell_request_id(call, spec, response.headers)
        try:
            yield response
        finally:
            await response.aclose()

    async def _answered(self, call: ProviderCall, spec: ProviderSpec, *, stream: bool) -> httpx2.Response:
        """Send, and return the answer's head, its body unread."""
        to = destination(spec, call.key.used.source, call.key.base_url)
        client = self._guarded if to.guarded else self._configured
        body = _body(call, spec, stream=stream)
        if to.guarded:
            call.on_sent()
        try:
            with telling_when_sent(call.on_sent):
                sent = await client.post(
                    to.base_url + READINGS[call.operation].path,
                    cast_to=httpx2.Response,
                    content=body,
                    options={
                        "headers": _headers(call, spec, stream=stream),
                        "timeout": self._timeout(stream=stream),
                    },
                    stream=True,
                    stream_cls=AsyncStream[object],
                )
        except openai.APIStatusError as error:
            tell_request_id(call, spec, error.response.headers)
            raise
        return cast("httpx2.Response", sent)

    def _timeout(self, *, stream: bool) -> httpx2.Timeout:
        """A whole answer may take until the run's deadline; a stream may not pause for long."""
        return httpx2.Timeout(
            connect=CONNECT_TIMEOUT_S,
            read=self._idle_timeout_s if stream else None,
            write=_WRITE_TIMEOUT_S,
            pool=CONNECT_TIMEOUT_S,
        )


def _sdk(http_client: httpx2.AsyncClient) -> AsyncOpenAI:
    """An SDK client without a key, that follows nothing and tries nothing twice."""
    return AsyncOpenAI(
        api_key="none",
        base_url="https://unset.invalid/v1",
        max_retries=0,
        http_client=http_client,
    )


def _body(call: ProviderCall, spec: ProviderSpec, *, stream: bool) -> bytes:
    body = request_body(
        spec,
        call.model,
        call.body,
        stream=stream,
        ceiling=call.completion_ceiling,
        operation=call.operation,
    )
    return orjson.dumps(body)


def _headers(call: ProviderCall, spec: ProviderSpec, *, stream: bool) -> dict[str, Any]:
    return {
        "Authorization": openai.Omit(),
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if stream else "application/json",
        "Accept-Encoding": "identity",
        **_NOT_SENT,
        **_of_the_account(call),
        spec.auth_header: spec.auth_prefix + call.key.secret.reveal(),
    }


def _of_the_account(call: ProviderCall) -> Mapping[str, str]:
    """What a caller says of their account at OpenAI says nothing of the platform's, nor of one elsewhere."""
    used = call.key.used
    is_meant = used.service is KeyService.OPENAI or call.key.base_url is not None
    return call.openai_headers if used.source.is_byok and is_meant else {}


async def _drain(events: AsyncIterator[object]) -> None:
    """Read to the end, so that the connection can be used again; one that never ends is not waited for."""
    try:
        async with asyncio.timeout(_DRAIN_S):
            async for _ in events:
                pass
    except (TimeoutError, httpx2.HTTPError, ProviderError):
        return


async def _read_until(size: int, read: bytearray, parts: AsyncIterator[bytes]) -> None:
    """Read on, until there is more than that, or nothing more."""
    async for part in parts:
        read += part
        if len(read) > size:
            return


def _whole(call: ProviderCall, body: bytes) -> Piece:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise _not_an_answer(call) from None
    answer = _parsed(call, text)
    return _piece(call, text, answer, chars_in(READINGS[call.operation].generated(answer)))


def _parsed(call: ProviderCall, text: str) -> dict[str, Any]:
    """Raise the provider's error when that is what came, ProviderError for what is no answer."""
    used = call.key.used
    if len(text) > _LARGE_BYTES and text.count(",") > _COMMAS_MAX:
        raise too_long(call.key.used.service)
    try:
        body = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise _not_an_answer(call) from None
    if (refusal := READINGS[call.operation].refusal(body)) is not None:
        raise error_of(quotable(refusal, call), used.service, used.source)
    if not isinstance(body, dict) or not READINGS[call.operation].is_answer(body):
        raise _not_an_answer(call)
    return body


def _piece(call: ProviderCall, text: str, body: dict[str, Any], chars: int) -> Piece:
    secret = call.key.secret.reveal()
    usage = READINGS[call.operation].usage(body)
    return Piece(without_key(secret, text, body), chars, _keepable_usage(secret, usage))


def _keepable_usage(secret: str, usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the usage object if it can be kept as it came, and the key is not in it."""
    usage = keepable(usage)
    return None if usage is None or holds_key(secret, orjson.dumps(usage).decode()) else usage


async def _events(call: ProviderCall, response: httpx2.Response) -> AsyncIterator[httpx2.ServerSentEvent]:
    """Raise ProviderError for an answer that is no stream, and for an event as long as no answer may be."""
    kind, _, _ = response.headers.get("content-type", "").partition(";")
    if kind.strip().lower() != "text/event-stream":
        raise _not_an_answer(call)
    most = _ANSWER_BYTES_MAX if call.key.base_url is None else _FOREIGN_EVENT_BYTES_MAX
    try:
        async for event in httpx2.EventSource(response, most):
            yield event
    except httpx2.SSEError:
        raise too_long(call.key.used.service) from None


def _not_an_answer(call: ProviderCall) -> ProviderError:
    service = call.key.used.service
    return ProviderError(f"{service} did not answer as it should", service=service)
