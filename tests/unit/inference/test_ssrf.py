"""No key leaves for an address inside: every way to name one, through the real transport, in chat and at
validation.

The only thing not real is what lies beyond the guard: the DNS, and the network that connections lead into.
"""

# ruff: noqa: ARG002 - httpcore's signature

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

import httpcore2
import pytest
import pytest_asyncio

from services.inference.adapters.egress import Address, PinningBackend
from services.inference.adapters.http_clients import HttpClients, http_clients
from services.inference.adapters.key_check import HttpKeyChecker
from services.inference.adapters.openai_provider import OpenAIProvider
from services.inference.adapters.provider_catalogue import load_providers
from services.inference.ports import OpenedKey, ProviderCall
from shared.kernel.errors import InternalError, InvalidRequestError, PlatformError, ProviderError
from shared.kernel.names import KeyService, KeySource, KeyVerdict
from shared.kernel.secret import SecretText
from tests.fakes.inference import CANARY, a_key
from tests.unit.inference.ssrf_urls import INSIDE, OUTSIDE, private_hosts, refused_urls

pytestmark = pytest.mark.unit

PUBLIC_URL = "https://public.example.com/v1"
PUBLIC = OUTSIDE["public.example.com"][0]
KNOWN = INSIDE | OUTSIDE
MODELS = b'HTTP/1.1 200 OK\r\ncontent-length: 12\r\nconnection: close\r\n\r\n{"data": []}'


class _Conversation(httpcore2.AsyncNetworkStream):
    """A server that says one thing, whatever it is told; TLS is taken for done."""

    def __init__(self, says: bytes, heard: bytearray) -> None:
        self._says = says
        self._heard = heard

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        said, self._says = self._says[:max_bytes], self._says[max_bytes:]
        return said

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._heard += buffer

    async def aclose(self) -> None:
        return

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.AsyncNetworkStream:
        return self

    def get_extra_info(self, info: str) -> Any:
        return None


@dataclass
class _Network(httpcore2.AsyncNetworkBackend):
    """What lies beyond the guard: it keeps where connections went, and what was said there."""

    says: bytes = MODELS
    made: list[tuple[str, int]] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.made.append((host, port))
        return _Conversation(self.says, self.heard)


async def _resolve(host: str) -> list[Address]:
    """As `getaddrinfo` does: a number in any spelling is an address; all else the DNS knows or not."""
    if host in KNOWN:
        return [ip_address(address) for address in KNOWN[host]]
    found = socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
    return [ip_address(entry[4][0]) for entry in found]


class _Outside:
    """Both ways out, on one network."""

    def __init__(self, network: _Network, http: HttpClients) -> None:
        specs = load_providers({})
        self.network = network
        self._provider = OpenAIProvider(specs, http, idle_timeout_s=1)
        self._checker = HttpKeyChecker(specs, http)

    async def chat(self, base_url: str, source: KeySource = KeySource.USER) -> None:
        key = a_key(source=source, service=KeyService.GATEWAY, base_url=base_url)
        await self._provider.complete(ProviderCall(key, "openai/gpt-4o", {"messages": []}))

    async def validate(self, base_url: str) -> KeyVerdict:
        key = OpenedKey(KeyService.GATEWAY, SecretText(CANARY), base_url)
        return await self._checker.check(key, timeout_s=1)


@pytest_asyncio.fixture(scope="module")
async def shared() -> AsyncIterator[_Outside]:
    network = _Network()
    async with http_clients(16, PinningBackend(network, _resolve)) as http:
        yield _Outside(network, http)


@pytest.fixture
def outside(shared: _Outside) -> Iterator[_Outside]:
    yield shared
    shared.network.says = MODELS
    shared.network.made.clear()
    shared.network.heard.clear()


def test_the_table_is_long() -> None:
    assert len(refused_urls()) >= 150


@pytest.mark.parametrize("url", refused_urls())
async def test_no_chat_with_the_inside(outside: _Outside, url: str) -> None:
    with pytest.raises(InvalidRequestError):
        await outside.chat(url)
    assert outside.network.made == []


@pytest.mark.parametrize("url", refused_urls())
async def test_no_validation_at_the_inside(outside: _Outside, url: str) -> None:
    with pytest.raises(InvalidRequestError):
        await outside.validate(url)
    assert outside.network.made == []


@pytest.mark.parametrize("host", private_hosts())
async def test_the_guard_holds_without_the_check_of_the_url(host: str) -> None:
    """A number that spells a public address may pass here: it leads nowhere else."""
    network = _Network()
    try:
        await PinningBackend(network, _resolve).connect_tcp(host, 443)
    except (InvalidRequestError, httpcore2.ConnectError):
        assert network.made == []
    else:
        assert network.made == [("8.8.8.8", 443)]


@pytest.mark.parametrize("host", ["public.example.com", "public6.example.com", "8.8.8.8", "[2606:4700::1]"])
async def test_a_public_address_is_called(outside: _Outside, host: str) -> None:
    assert await outside.validate(f"https://{host}/v1") is KeyVerdict.VALID
    with pytest.raises(ProviderError):  # no completion comes from there
        await outside.chat(f"https://{host}/v1")

    address = OUTSIDE.get(host, [host.strip("[]")])[0]
    assert outside.network.made == [(address, 443)] * 2
    assert f"Host: {host}".encode() in outside.network.heard


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data",
        "https://127.0.0.1/v1/models",
        "https://[::1]/v1/models",
        "//10.0.0.1/v1/models",
        "https://loopback.example.com/v1/models",
        "http://public.example.com/v1/models",
        "https://public6.example.com/v1/models",
        "/v1/elsewhere",
        "file:///etc/passwd",
    ],
)
async def test_no_redirect_is_followed(outside: _Outside, status: int, location: str) -> None:
    outside.network.says = (
        f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
    ).encode()

    with pytest.raises(ProviderError):
        await outside.chat(PUBLIC_URL)
    assert await outside.validate(PUBLIC_URL) is KeyVerdict.UNREACHABLE
    assert outside.network.made == [(PUBLIC, 443)] * 2


@pytest.mark.parametrize("second", ["127.0.0.1", "169.254.169.254", "::1", "64:ff9b::a9fe:a9fe"])
async def test_a_name_that_is_another_the_second_time(second: str) -> None:
    answers = iter([PUBLIC, second, second])

    async def rebinding(_host: str) -> list[Address]:
        return [ip_address(next(answers))]

    network = _Network()
    async with http_clients(4, PinningBackend(network, rebinding)) as http:
        outside = _Outside(network, http)
        assert await outside.validate(PUBLIC_URL) is KeyVerdict.VALID
        with pytest.raises(InvalidRequestError):
            await outside.validate(PUBLIC_URL)
        with pytest.raises(InvalidRequestError):
            await outside.chat(PUBLIC_URL)

    assert network.made == [(PUBLIC, 443)]


@pytest.mark.parametrize("url", [PUBLIC_URL, "https://127.0.0.1/v1", "http://gateway:4000/v1"])
async def test_a_platform_key_goes_to_no_callers_address(outside: _Outside, url: str) -> None:
    with pytest.raises(InternalError):
        await outside.chat(url, KeySource.PLATFORM)
    assert outside.network.made == []


async def test_keys_that_are_being_checked_leave_runs_their_connections() -> None:
    async def resolve(host: str) -> list[Address]:
        if host.startswith("slow"):
            await asyncio.Event().wait()
        return await _resolve(host)

    async with http_clients(2, PinningBackend(_Network(), resolve)) as http, asyncio.TaskGroup() as group:
        outside = _Outside(_Network(), http)
        slow = [group.create_task(outside.validate("https://slow.example/v1")) for _ in range(64)]
        await asyncio.sleep(0.1)
        async with asyncio.timeout(0.5):
            assert await outside.validate(PUBLIC_URL) is KeyVerdict.VALID

    assert {task.result() for task in slow} == {KeyVerdict.UNREACHABLE}


async def test_a_cookie_of_ones_gateway_does_not_go_with_anothers_call() -> None:
    network = _Network(MODELS.replace(b"\r\n\r\n", b"\r\nset-cookie: session=ann; path=/\r\n\r\n"))
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(http_clients(4, PinningBackend(network, _resolve)))
        for _ in range(2):
            await _Outside(network, http).validate(PUBLIC_URL)

    assert len(network.made) == 2
    assert b"session" not in network.heard.lower()


@pytest.mark.parametrize(
    "says",
    [
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nabc",
        b'HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{"data": [' + b"1," * 2_000_000 + b"1]}",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + b'{"data":' * 100_000,
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n\xff\xfe",
        b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"",
    ],
)
async def test_an_answer_of_any_shape_is_borne(outside: _Outside, says: bytes) -> None:
    outside.network.says = says

    assert await outside.validate(PUBLIC_URL) is KeyVerdict.UNREACHABLE


async def test_what_goes_wrong_names_no_key(outside: _Outside) -> None:
    with pytest.raises(PlatformError) as caught:
        await outside.validate("https://127.0.0.1/v1")

    shown = f"{caught.value!r} {caught.value.message} {caught.value.args} {vars(caught.value)}"
    assert CANARY not in shown
