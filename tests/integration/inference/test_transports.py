"""Both ways to a provider, httpx2's own connections and aiohttp's, behave alike."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import httpx2
import pytest

from services.inference.adapters.aiohttp_transport import AiohttpTransport, telling_when_sent
from services.inference.adapters.http_clients import client_over

pytestmark = pytest.mark.integration

LIMITS: Final = httpx2.Limits(max_connections=1, keepalive_expiry=2.0)
WAIT: Final = httpx2.Timeout(connect=1.0, read=1.0, write=None, pool=1.0)
OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
Then = Callable[[asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=["httpx2", "aiohttp"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[httpx2.AsyncClient]:
    own = httpx2.AsyncHTTPTransport(trust_env=False, limits=LIMITS)
    async with client_over(own if request.param == "httpx2" else AiohttpTransport(LIMITS)) as client:
        client.timeout = WAIT
        yield client


async def hang_up(_: asyncio.StreamWriter) -> None:
    """The server closes the connection after it."""


async def fall_silent(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(2)


@asynccontextmanager
async def answering(*answers: bytes, then: Then = hang_up) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server whose every connection answers so, a request each, then does `then`. Yields what it heard."""
    heard: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            heard.append(await _read(reader))
            writer.write(answer)
        await then(writer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        host, port = server.sockets[0].getsockname()
        yield f"http://{host}:{port}", heard


async def _read(reader: asyncio.StreamReader) -> bytes:
    """Return a request's head; read its body, too."""
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            await reader.readexactly(int(line.partition(b":")[2]))
    return head


async def test_an_answer_comes_as_it_was_sent(client: httpx2.AsyncClient) -> None:
    sent = b"HTTP/1.1 418 Odd\r\nX-Request-Id: r\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc"
    async with (
        answering(sent) as (url, heard),
        client.stream("POST", f"{url}/v1/a%2Fb?q=%7e", content=b"{}", headers={"X-A": "1"}) as answer,
    ):
        raw = b"".join([part async for part in answer.aiter_raw()])

    assert (answer.status_code, answer.headers["x-request-id"], raw) == (418, "r", b"abc")
    assert heard[0].startswith(b"POST /v1/a%2Fb?q=%7e HTTP/1.1\r\n")
    assert b"x-a: 1\r\n" in heard[0].lower()


async def test_a_connection_is_used_again(client: httpx2.AsyncClient) -> None:
    async with answering(OK, OK) as (url, heard):
        for _ in range(2):
            assert (await client.post(url, content=b"x" * 2_000_000)).json() == {}

    assert len(heard) == 2


async def test_nothing_is_followed_and_no_cookie_kept(client: httpx2.AsyncClient) -> None:
    moved = b"HTTP/1.1 302 Found\r\nlocation: /else\r\nset-cookie: a=b; path=/\r\ncontent-length: 0\r\n\r\n"
    async with answering(moved, OK) as (url, heard):
        assert (await client.get(url)).status_code == 302
        await client.get(url)

    assert b"cookie:" not in heard[1].lower()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hangs up at once"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", id="hangs up amid the body"),
        pytest.param(b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", id="endless header"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="no HTTP"),
    ],
)
async def test_a_broken_answer_is_no_timeout(client: httpx2.AsyncClient, answer: bytes) -> None:
    async with answering(answer) as (url, heard):
        with pytest.raises(httpx2.TransportError) as caught:
            await client.post(url, content=b"{}")

    assert not isinstance(caught.value, httpx2.TimeoutException)
    assert len(heard) == 1  # nothing is tried twice


async def test_nobody_there_is_a_connect_error(client: httpx2.AsyncClient) -> None:
    with pytest.raises(httpx2.ConnectError):
        await client.post("http://127.0.0.1:1/", content=b"{}")


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"])
async def test_silence_is_a_read_timeout(client: httpx2.AsyncClient, began: bytes) -> None:
    async with answering(began, then=fall_silent) as (url, _):
        with pytest.raises(httpx2.ReadTimeout):
            await client.post(url, content=b"{}")


async def test_a_full_pool_is_a_timeout(client: httpx2.AsyncClient) -> None:
    async with answering(OK[:-1], then=fall_silent) as (url, _), client.stream("GET", url):
        with pytest.raises(httpx2.TimeoutException):
            await client.get(url)


@pytest.mark.parametrize("client", ["aiohttp"], indirect=True)
async def test_it_is_told_when_a_request_goes_out(client: httpx2.AsyncClient) -> None:
    sent: list[str] = []
    async with answering(OK[:-1], then=fall_silent) as (url, _):
        with telling_when_sent(lambda: sent.append("the first")):
            async with client.stream("GET", url):
                assert sent == ["the first"]
                with (
                    telling_when_sent(lambda: sent.append("no place")),
                    pytest.raises(httpx2.TimeoutException),
                ):
                    await client.get(url)
    with telling_when_sent(lambda: sent.append("nobody there")), pytest.raises(httpx2.ConnectError):
        await client.get("http://127.0.0.1:1/")

    assert sent == ["the first"]


async def test_of_an_endless_error_so_much_is_read_as_to_tell_what_it_is(client: httpx2.AsyncClient) -> None:
    async def without_end(writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"x" * 65_536)
                await writer.drain()

    refusal = b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\n\r\n"
    async with answering(refusal, then=without_end) as (url, _):
        answer = await asyncio.wait_for(client.post(url, content=b"{}"), 10)

    assert (answer.status_code, answer.headers["retry-after"], len(answer.content)) == (429, "7", 1024 * 1024)
