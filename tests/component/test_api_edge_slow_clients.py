"""Clients that send without end, or hardly at all, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import orjson
import pytest
import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from services.api_edge.bounded_http import BoundedHttp

pytestmark = pytest.mark.component

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
SLOW = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nslow"


class Impatient(BoundedHttp):
    head_bytes_max = 16 * 1024
    head_s = 0.2
    body_s = 0.4


async def measure(scope: Scope, receive: Receive, send: Send) -> None:
    try:
        body = await Request(scope, receive).body()
    except ClientDisconnect:
        return
    if body == b"slow":
        await asyncio.sleep(0.8)
    await PlainTextResponse(f"{len(scope['headers'])} headers, {len(body)} bytes")(scope, receive, send)


@pytest.fixture
async def port() -> AsyncIterator[int]:
    config = uvicorn.Config(measure, http=Impatient, lifespan="off", log_config=None)
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: Impatient(config=config, server_state=state, app_state={}), "127.0.0.1", 0
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def until(self, end: bytes) -> bytes:
        async with asyncio.timeout(3):
            return await self._reader.readuntil(end)

    async def rest(self) -> bytes:
        """What comes until the server hangs up, or resets."""
        told = b""
        async with asyncio.timeout(3):
            with suppress(ConnectionError):
                while piece := await self._reader.read(65_536):
                    told += piece
        return told

    async def is_hung_up_on(self, data: bytes, *, times: int, pause_s: float = 0) -> bool:
        try:
            for _ in range(times):
                await self.send(data)
                await asyncio.sleep(pause_s)
        except ConnectionError:
            return True
        return False

    async def close(self) -> None:
        self._writer.close()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


@pytest.fixture
async def client(port: int) -> AsyncIterator[Client]:
    made = Client(*await asyncio.open_connection("127.0.0.1", port))
    yield made
    await made.close()


async def test_a_head_without_end_is_refused(client: Client) -> None:
    await client.send(b"GET / HTTP/1.1\r\nX-Long: ")

    assert await client.is_hung_up_on(b"a" * 16_384, times=1000)


async def test_a_long_head_is_told_why(client: Client) -> None:
    await client.send(b"GET / HTTP/1.1\r\nX-Long: " + b"a" * Impatient.head_bytes_max)

    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    ("begun", "repeated"),
    [
        (CHUNKED + b"2\r\n{}\r\n0\r\n", b"x-1: " + b"a" * 4000 + b"\r\n"),
        (CHUNKED + b"2\r\n{}\r\n0\r\nx-1: ", b"a" * 4000),
        (CHUNKED + b"2;x=", b"a" * 4000),
    ],
    ids=["many trailers", "a long trailer", "a long chunk extension"],
)
async def test_what_is_no_body_is_bounded_after_the_head_too(
    client: Client, begun: bytes, repeated: bytes
) -> None:
    await client.send(begun)

    assert await client.is_hung_up_on(repeated, times=1000)


async def test_a_long_trailer_is_told_why(client: Client) -> None:
    await client.send(CHUNKED + b"2\r\n{}\r\n0\r\nx-1: " + b"a" * Impatient.head_bytes_max)

    assert (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_trailers_are_dropped_and_the_connection_goes_on(client: Client) -> None:
    for _ in range(3):
        await client.send(CHUNKED + b"2\r\n{}\r\n0\r\nx-1: " + b"a" * 10_000 + b"\r\n\r\n")
        assert await client.until(b"2 headers, 2 bytes")


@pytest.mark.parametrize(("size", "times"), [(1, 10_000), (20_000, 3)])
async def test_a_chunked_body_may_be_longer_than_a_head(client: Client, size: int, times: int) -> None:
    chunk = b"%x\r\n%s\r\n" % (size, b"a" * size)
    for _ in range(2):
        await client.send(CHUNKED + chunk * times + b"0\r\n\r\n")
        assert await client.until(b"2 headers, %d bytes" % (size * times))


async def test_many_requests_may_come_at_once(client: Client) -> None:
    await client.send(GET * 1000)
    for _ in range(1000):
        await client.until(b"1 headers, 0 bytes")


async def test_an_answer_that_is_coming_is_not_mixed_with_a_refusal(client: Client) -> None:
    await client.send(SLOW + CHUNKED + b"2\r\n{}\r\n0\r\nx-1: ")
    await asyncio.sleep(0.1)
    await client.send(b"a" * (Impatient.head_bytes_max + 1))

    assert not (await client.rest()).startswith(b"HTTP/1.1 431 ")


async def test_what_is_refused_is_told_as_a_problem(client: Client) -> None:
    await client.send(b"EHLO example.org\r\n\r\n")

    head, _, body = (await client.rest()).partition(b"\r\n\r\n")
    told = orjson.loads(body)
    assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert b"content-type: application/problem+json" in head
    assert (told["code"], told["status"], told["title"]) == (
        "invalid_request",
        400,
        "The request is not valid.",
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"GET / HTTP/1.1\r\nX: ",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n12",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nslow",
        GET + b"GET ",
    ],
)
async def test_who_dawdles_is_hung_up_on(client: Client, sent: bytes) -> None:
    await client.send(sent)

    assert b"HTTP/1.1 408 " in await client.rest()


async def test_dawdling_byte_by_byte_does_not_help(client: Client) -> None:
    await client.send(b"GET / HTTP/1.1\r\nX: ")

    assert await client.is_hung_up_on(b"a", times=50, pause_s=0.05)


async def test_a_connection_may_rest_between_requests(client: Client) -> None:
    for _ in range(3):
        await client.send(GET)
        assert await client.until(b"0 bytes")
        await asyncio.sleep(0.5)


async def test_an_answer_may_take_longer_than_its_request(client: Client) -> None:
    await client.send(SLOW)

    assert await client.until(b"4 bytes")


async def test_what_waits_behind_a_slow_answer_is_not_late(client: Client) -> None:
    await client.send(SLOW + GET + GET[:10])
    await asyncio.sleep(0.5)
    await client.send(GET[10:])

    assert await client.until(b"4 bytes")
    assert await client.until(b"0 bytes")
    assert await client.until(b"0 bytes")
