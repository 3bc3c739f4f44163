"""JWTs: pinned algorithms, required claims, keys that rotate and fail."""

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from services.api_edge.adapters.jwt_tokens import Expected, JwksJwts, NoJwts, SharedSecretJwts
from services.api_edge.domain.identity import Caller
from shared.kernel.errors import ServiceUnavailableError, UnauthenticatedError
from shared.kernel.names import Role
from shared.kernel.secret import SecretText

pytestmark = pytest.mark.unit

SECRET = "s" * 32
EXPECTED = Expected(issuer="latchkey", audience="latchkey")
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


def _claims(**more: object) -> dict[str, Any]:
    base = {"sub": "alice", "iss": "latchkey", "aud": "latchkey", "exp": time.time() + 60}
    return {name: value for name, value in {**base, **more}.items() if value is not None}


def _hs256(secret: str = SECRET, **more: object) -> str:
    return jwt.encode(_claims(**more), secret, algorithm="HS256")


async def test_a_good_token_names_its_caller() -> None:
    verifier = SharedSecretJwts(SecretText(SECRET), EXPECTED)
    assert await verifier.verify(_hs256(role="admin")) == Caller("alice", Role.ADMIN)


async def test_issuer_and_audience_are_checked_when_configured() -> None:
    verifier = SharedSecretJwts(SecretText(SECRET), Expected())
    assert await verifier.verify(_hs256(iss=None, aud="anything")) == Caller("alice", Role.USER)


@pytest.mark.parametrize(
    "token",
    [
        _hs256(exp=time.time() - 1),
        _hs256(exp=None),
        _hs256(sub=None),
        _hs256(sub=""),
        _hs256(iss="other"),
        _hs256(aud="other"),
        _hs256(aud=None),
        _hs256(nbf=time.time() + 60),
        _hs256(role="root"),
        _hs256("x" * 32),
        jwt.encode(_claims(), "", algorithm="none"),
        jwt.encode(_claims(), SECRET * 2, algorithm="HS512"),
        jwt.encode(_claims(), RSA, algorithm="RS256"),
        "a.b.c",
        "eyJhbGciOiJIUzI1NiJ9..",
        "",
    ],
)
async def test_bad_tokens_are_refused(token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await SharedSecretJwts(SecretText(SECRET), EXPECTED).verify(token)


async def test_without_a_secret_no_jwt_is_good() -> None:
    with pytest.raises(UnauthenticatedError):
        await NoJwts().verify(_hs256())


class KeyServer:
    """A JWKS endpoint that a test can change or break."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: httpx2.Response | Exception = httpx2.Response(200)
        self.offer(("one", RSA), ("two", EC))

    def offer(self, *keys: tuple[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]) -> None:
        self.answer = httpx2.Response(200, json={"keys": [_jwk(kid, key) for kid, key in keys]})

    def __call__(self, _request: httpx2.Request) -> httpx2.Response:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def _jwk(kid: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return {**jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}
    return {**jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid}


def _signed(kid: str | None = "one", key: Any = RSA, algorithm: str = "RS256", **more: object) -> str:
    return jwt.encode(_claims(**more), key, algorithm, headers={"kid": kid} if kid else None)


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def server() -> KeyServer:
    return KeyServer()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def verifier(server: KeyServer, clock: Clock) -> AsyncIterator[JwksJwts]:
    async with httpx2.AsyncClient(transport=httpx2.MockTransport(server)) as http:
        yield JwksJwts(http, "https://id.example/jwks", ("RS256", "ES256"), EXPECTED, clock=clock)


async def test_keys_are_fetched_once_for_many_tokens(verifier: JwksJwts, server: KeyServer) -> None:
    assert await verifier.verify(_signed()) == Caller("alice", Role.USER)
    assert await verifier.verify(_signed("two", EC, "ES256", role="admin")) == Caller("alice", Role.ADMIN)
    assert server.asked == 1


@pytest.mark.parametrize(
    "token",
    [
        _signed("one", EC, "ES256"),
        _signed("three"),
        _signed(None),
        _signed(exp=time.time() - 1),
        _signed("one", RSA, "RS512"),
        jwt.encode(_claims(), "x" * 32, algorithm="HS256", headers={"kid": "one"}),
        jwt.encode(_claims(), "", algorithm="none", headers={"kid": "one"}),
        "not.a.token",
    ],
)
async def test_tokens_that_the_keys_do_not_vouch_for(verifier: JwksJwts, token: str) -> None:
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(token)


async def test_a_public_key_is_no_shared_secret(verifier: JwksJwts) -> None:
    public = str(_jwk("one", RSA)["n"])
    with pytest.raises(UnauthenticatedError):
        await verifier.verify(jwt.encode(_claims(), public, algorithm="HS256", headers={"kid": "one"}))


async def test_a_new_key_is_found_but_not_asked_for_without_end(
    verifier: JwksJwts, server: KeyServer, clock: Clock
) -> None:
    await verifier.verify(_signed())
    for _ in range(5):
        with pytest.raises(UnauthenticatedError):
            await verifier.verify(_signed("new"))
    assert server.asked == 1
    server.offer(("new", RSA))
    clock.now += 11
    assert (await verifier.verify(_signed("new"))).user_id == "alice"
    assert server.asked == 2


async def test_keys_known_outlive_their_server(verifier: JwksJwts, server: KeyServer, clock: Clock) -> None:
    await verifier.verify(_signed())
    server.answer = httpx2.ConnectError("gone")
    clock.now += 301
    assert (await verifier.verify(_signed())).user_id == "alice"
    assert server.asked == 2


@pytest.mark.parametrize(
    "answer",
    [
        httpx2.ConnectError("gone"),
        httpx2.ReadTimeout("slow"),
        httpx2.Response(500),
        httpx2.Response(302, headers={"location": "https://elsewhere.example"}),
        httpx2.Response(200, text="not json"),
        httpx2.Response(200, json=[]),
        httpx2.Response(200, json={"keys": "none"}),
        httpx2.Response(200, json={"keys": []}),
    ],
    ids=str,
)
async def test_without_keys_nobody_can_tell(
    verifier: JwksJwts, server: KeyServer, answer: httpx2.Response | Exception
) -> None:
    server.answer = answer
    with pytest.raises(ServiceUnavailableError) as refusal:
        await verifier.verify(_signed())
    assert refusal.value.service == "jwks"
