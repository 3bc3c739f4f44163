"""The simulator's ASGI application."""

import orjson
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from infra.simulator import answers, refusals
from infra.simulator.calls import CallBook
from infra.simulator.delivery import ClientGoneError, Line, deliver_plain, deliver_stream, request_id
from infra.simulator.requests import ChatRequest, parse_chat, parse_embeddings, parse_responses
from infra.simulator.shapes import ChatShape, ResponseShape, Shape, embeddings


def _json(body: object) -> Response:
    return Response(orjson.dumps(body), media_type="application/json")


def bearer_of(headers: Headers) -> str:
    """The bearer token a request carries, "" without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def key_of(headers: Headers) -> str:
    """The key a request carries. Raises RefusalError (401) when there is none."""
    key = bearer_of(headers) or headers.get("x-api-key") or headers.get("api-key")
    if not key:
        raise refusals.missing_key()
    return key


def _refusal(request: ChatRequest, key: str) -> refusals.RefusalError | None:
    asked = request.directives
    if refusal := refusals.for_key_in_chat(key):
        return refusal
    return None if asked.status is None else refusals.for_status(asked.status, key, asked.retry_after)


class ChatEndpoint:
    """`POST /v1/chat/completions`."""

    _parse = staticmethod(parse_chat)
    _shape: type[Shape] = ChatShape

    def __init__(self, book: CallBook) -> None:
        self._book = book

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            request = Request(scope, receive)
            key = key_of(request.headers)
            with self._book.chat(key):
                await self._answer(scope, receive, send, self._parse(await request.body()), key)
        except refusals.RefusalError as refusal:
            self._book.status(refusal.status)
            refusal.headers["x-request-id"] = request_id()
            await refusal.response()(scope, receive, send)
        except ClientGoneError:
            self._book.disconnected()

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, request: ChatRequest, key: str
    ) -> None:
        self._book.prompt(request.prompt)
        line = Line(receive, send)
        await line.pause(request.directives.latency_ms)
        if refusal := _refusal(request, key):
            raise refusal
        if request.directives.redirect:
            self._book.status(302)
            await Response(
                status_code=302, headers={"location": "/redirected", "x-request-id": request_id()}
            )(scope, receive, send)
            return
        self._book.status(200)
        deliver = deliver_stream if request.stream else deliver_plain
        await deliver(line, request, self._shape(request, answers.answer(request)))


class ResponsesEndpoint(ChatEndpoint):
    """`POST /v1/responses`."""

    _parse = staticmethod(parse_responses)
    _shape = ResponseShape

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, request: ChatRequest, key: str
    ) -> None:
        if request.directives.no_responses:
            raise refusals.for_status(404, key)
        await super()._answer(scope, receive, send, request, key)


class Endpoints:
    """The endpoints that answer in one go."""

    def __init__(self, book: CallBook) -> None:
        self._book = book

    async def models(self, request: Request) -> Response:
        headers = request.headers
        if "x-api-key" in headers and not bearer_of(headers):
            return self._anthropic_models(headers)
        try:
            key = key_of(headers)
        except refusals.RefusalError as refusal:
            return refusal.response()
        self._book.models(key)
        refused = refusals.for_key(key)
        return refused.response() if refused else _json(answers.models())

    def _anthropic_models(self, headers: Headers) -> Response:
        key = headers["x-api-key"]
        if not key:
            return refusals.missing_key().response(refusals.anthropic)
        self._book.models(key)
        missing = None if "anthropic-version" in headers else refusals.missing_version()
        refused = refusals.for_key(key) or missing
        return refused.response(refusals.anthropic) if refused else _json(answers.anthropic_models())

    async def embeddings(self, request: Request) -> Response:
        """One vector of three numbers for each input."""
        try:
            key = key_of(request.headers)
            with self._book.chat(key):
                inputs = parse_embeddings(await request.body())
                self._book.prompt(inputs[0] if inputs else "")
                if refusal := refusals.for_key_in_chat(key):
                    raise refusal
        except refusals.RefusalError as refusal:
            self._book.status(refusal.status)
            return refusal.response()
        self._book.status(200)
        return _json(embeddings(inputs))

    async def openrouter_key(self, request: Request) -> Response:
        return self._key_info(request, answers.openrouter_key(), refusals.openrouter)

    async def xai_key(self, request: Request) -> Response:
        return self._key_info(request, answers.xai_key(), refusals.xai)

    def _key_info(self, request: Request, info: answers.Json, shape: refusals.Shape) -> Response:
        key = bearer_of(request.headers)
        if not key:
            return refusals.missing_key().response(shape)
        self._book.key_info(key)
        refused = refusals.for_key(key)
        return refused.response(shape) if refused else _json(info)

    async def redirected(self, _: Request) -> Response:
        self._book.redirected()
        return _json({"redirected": True})

    async def calls(self, _: Request) -> Response:
        return _json(self._book.snapshot())

    async def reset(self, _: Request) -> Response:
        self._book.reset()
        return Response(status_code=204)

    async def healthz(self, _: Request) -> Response:
        return PlainTextResponse("ok")


def create_app() -> Starlette:
    """A simulator with counts of its own."""
    book = CallBook()
    plain = Endpoints(book)
    return Starlette(
        routes=[
            Route("/v1/chat/completions", ChatEndpoint(book), methods=["POST"]),
            Route("/v1/embeddings", plain.embeddings, methods=["POST"]),
            Route("/v1/responses", ResponsesEndpoint(book), methods=["POST"]),
            Route("/v1/models", plain.models),
            Route("/v1/key", plain.openrouter_key),
            Route("/v1/api-key", plain.xai_key),
            Route("/redirected", plain.redirected, methods=["GET", "POST"]),
            Route("/_simulator/calls", plain.calls),
            Route("/_simulator/reset", plain.reset, methods=["POST"]),
            Route("/healthz", plain.healthz),
        ]
    )
