"""Which addresses and URLs of a caller may be called."""

# ruff: noqa: ARG002 - httpcore's signature

import asyncio
import threading
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

import httpcore2
import pytest

from services.inference.adapters.egress import PinningBackend, ThreadedResolver, check_base_url, is_public
from shared.kernel.errors import InvalidRequestError

pytestmark = pytest.mark.unit

DENIED = [
    "0.0.0.0",  # noqa: S104
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.1.2.3",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:169.254.169.254",
    "::127.0.0.1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b::808:808",
    "64:ff9b:1::1",
    "100::1",
    "2001::1",
    "2001:0:a9fe:a9fe::1",
    "2001:db8::1",
    "2001:10::1",
    "2002:a9fe:a9fe::",
    "2002:808:808::1",
    "2606:4700::5efe:7f00:1",
    "3ffe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700::1%eth0",
]
ALLOWED = [
    "1.1.1.1",
    "8.8.8.8",
    "104.18.6.192",
    "172.32.0.1",
    "2606:4700::6812:6c0",
    "2a00:1450:4001::200e",
    "2001:4860:4860::8888",
]


@pytest.mark.parametrize("address", DENIED)
def test_an_inner_address_is_denied(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ALLOWED)
def test_a_public_address_is_allowed(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/v1",
        "https://example.com:8443/v1",
        "https://user@example.com/v1",
        "https://user:pass@example.com/v1",
        "https://example.com/v1?key=1",
        "https://example.com/v1#x",
        "https:///v1",
        "//example.com/v1",
        "file:///etc/passwd",
        "",
        "https://[::1",
    ],
)
def test_a_bad_base_url_is_refused(url: str) -> None:
    with pytest.raises(InvalidRequestError):
        check_base_url(url)


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("https://example.com/v1/", "https://example.com/v1"),
        ("https://example.com:443/v1", "https://example.com/v1"),
        ("https://example.com", "https://example.com"),
        ("HTTPS://Example.COM/V1", "https://example.com/V1"),
        (
            "https://gateway.ai.example.com/v1/account/name/compat/",
            "https://gateway.ai.example.com/v1/account/name/compat",
        ),
        (
            "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example/v1",
            "https://xn--bcher-kva.example/v1",
        ),
        ("https://8.8.8.8/v1", "https://8.8.8.8/v1"),
        ("https://[2606:4700::1]/v1", "https://[2606:4700::1]/v1"),
    ],
)
def test_a_good_base_url_is_tidied(url: str, checked: str) -> None:
    assert check_base_url(url) == checked


class _Connections(httpcore2.AsyncNetworkBackend):
    def __init__(self) -> None:
        self.made: list[tuple[str, int]] = []

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        self.made.append((host, port))
        return httpcore2.AsyncNetworkStream()


def pinning(*answers: list[str]) -> tuple[PinningBackend, _Connections]:
    """A backend whose DNS gives one answer after the other."""
    connections, remaining = _Connections(), iter(answers)

    async def resolver(_host: str) -> list[Any]:
        return [ip_address(address) for address in next(remaining)]

    return PinningBackend(connections, resolver), connections


async def test_it_connects_to_the_address_that_was_checked() -> None:
    backend, connections = pinning(["8.8.8.8", "1.1.1.1"], ["127.0.0.1"])

    await backend.connect_tcp("example.com", 443)

    assert connections.made == [("8.8.8.8", 443)]


@pytest.mark.parametrize("answer", [["8.8.8.8", "10.0.0.1"], ["::1"], []])
async def test_one_inner_address_is_enough_to_refuse(answer: list[str]) -> None:
    backend, connections = pinning(answer)

    with pytest.raises(InvalidRequestError):
        await backend.connect_tcp("example.com", 443)
    assert connections.made == []


async def test_no_other_port() -> None:
    backend, connections = pinning(["8.8.8.8"])

    with pytest.raises(InvalidRequestError):
        await backend.connect_tcp("example.com", 5672)
    assert connections.made == []


async def test_a_name_without_an_address_is_a_failed_connection() -> None:
    async def nowhere(_host: str) -> list[Any]:
        raise OSError("no such name")

    with pytest.raises(httpcore2.ConnectError):
        await PinningBackend(_Connections(), nowhere).connect_tcp("example.com", 443)


@pytest.mark.parametrize("host", ["a" * 70 + ".com", "a..com", ".com"])
async def test_what_is_no_name_is_the_callers_mistake(host: str) -> None:
    with pytest.raises(InvalidRequestError):
        await PinningBackend(_Connections()).connect_tcp(host, 443)


async def test_slow_name_servers_of_callers_hold_up_nobody_else() -> None:
    answered = threading.Event()

    def slow(*_: object, **__: object) -> list[Any]:
        answered.wait(5)
        return []

    resolver = ThreadedResolver(slow)
    looking = [asyncio.create_task(resolver("slow.example")) for _ in range(8)]
    try:
        async with asyncio.timeout(1):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(4)))
            assert await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 443)
    finally:
        answered.set()
        await asyncio.gather(*looking)


async def test_a_slow_name_server_holds_up_no_other_domain() -> None:
    answered = threading.Event()

    def slow(host: str, *_: object, **__: object) -> list[Any]:
        if host.endswith("slow.example"):
            answered.wait(5)
        return [(2, 1, 6, "", ("8.8.8.8", 443))]

    resolver = ThreadedResolver(slow)
    backend = PinningBackend(_Connections(), resolver)
    try:
        for _ in range(2):  # nor do those that nobody waits for any more
            given_up = (backend.connect_tcp(f"{n}.slow.example", 443, timeout=0.05) for n in range(50))
            late = await asyncio.gather(*given_up, return_exceptions=True)
            assert {type(error) for error in late} == {httpcore2.ConnectTimeout}
        await backend.connect_tcp("fast.example", 443, timeout=1)
    finally:
        answered.set()
    await backend.connect_tcp("again.slow.example", 443, timeout=1)


async def test_all_addresses_of_a_name_are_found() -> None:
    found = [(2, 1, 6, "", ("8.8.8.8", 443)), (10, 1, 6, "", ("2606:4700::1", 443, 0, 0))]

    resolver = ThreadedResolver(lambda *_, **__: found)

    assert await resolver("example.com") == [ip_address("8.8.8.8"), ip_address("2606:4700::1")]
