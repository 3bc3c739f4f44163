"""What a worker asks key_vault, and which answers it does not believe."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.inference.adapters.key_vault import RpcKeyVault
from shared.contracts.resolving import KeyResolved, ResolveKey
from shared.contracts.rpc import Request, RpcReply
from shared.contracts.runs import RunRequested
from shared.contracts.sealed import RequestKey, SealBinding, SealedKey
from shared.kernel.errors import InternalError
from shared.kernel.names import KEY_VAULT, KeyPolicy, KeyService, KeySource
from shared.kernel.secret import SecretText
from shared.runtime.delivery import Delivery
from shared.runtime.rpc import RpcClient
from shared.runtime.sealing import seal
from tests.envelopes import event_body
from tests.fakes.inference import CANARY, a_request

pytestmark = pytest.mark.unit

REQUIRED, PREFERRED = KeyPolicy.USER_KEY_REQUIRED, KeyPolicy.USER_KEY_PREFERRED
GATEWAY_URL = "https://gateway.example/v1"


class InMemoryKeyVault:
    """A bus with only key_vault on it, which hands out one key, told of as `answer` says."""

    def __init__(self, **answer: Any) -> None:
        self.rpc = RpcClient(self)
        self.asked: list[ResolveKey] = []
        self._answer = {"credential_id": "c-1", "source": KeySource.USER, **answer}

    async def request(self, message: Request, *, correlation_id: str, ttl_s: float) -> None:
        assert isinstance(message, ResolveKey)
        assert ttl_s > 0
        self.asked.append(message)
        reply = RpcReply(result=self._resolved(message).model_dump(mode="json"))
        body = event_body(reply, source=KEY_VAULT)
        self.rpc.on_reply(Delivery(body=body, sender=KEY_VAULT, correlation_id=correlation_id))

    def _resolved(self, query: ResolveKey) -> KeyResolved:
        binding = SealBinding(
            purpose="resolve",
            run_id=query.run_id,
            attempt=query.attempt,
            user_id=query.user_id,
            credential_id=self._answer["credential_id"],
            service=KeyService.OPENAI,
            base_url=self._answer.get("base_url"),
            expires_at=datetime.now(UTC) + timedelta(seconds=30),
        )
        sealed = seal(SecretText(CANARY), query.worker_public_key, binding)
        return KeyResolved(service=KeyService.OPENAI, sealed=sealed, **self._answer)


async def resolve(vault: InMemoryKeyVault, request: RunRequested | None = None) -> Any:
    resolver = RpcKeyVault(vault.rpc)
    return await resolver.resolve(request or a_request(), 2, excluding=("c-0",), timeout_s=1)


async def test_all_that_decides_over_the_key_is_asked() -> None:
    sealed = SealedKey(ciphertext="c2VhbGVk", expires_at=datetime.now(UTC))
    session = RequestKey(service=KeyService.OPENAI, sealed=sealed)
    vault, request = InMemoryKeyVault(), a_request(session_key=session, policy=REQUIRED, report_only=True)

    await resolve(vault, request)

    [query] = vault.asked
    assert (query.run_id, query.attempt, query.excluding) == (request.run_id, 2, ("c-0",))
    assert (query.session_key, query.request_key) == (session, None)
    assert (query.policy, query.report_only) == (REQUIRED, True)


async def test_all_that_is_said_of_the_key_is_kept() -> None:
    vault = InMemoryKeyVault(
        source=KeySource.TEAM_GATEWAY,
        base_url=GATEWAY_URL,
        consent_id="yes-1",
        credential_version=3,
        would_refuse_policy=REQUIRED,
    )

    key = await resolve(vault, a_request(policy=REQUIRED, report_only=True))

    assert (key.secret.reveal(), key.base_url) == (CANARY, GATEWAY_URL)
    assert (key.used.source, key.used.credential_id, key.used.consent_id) == ("team_gateway", "c-1", "yes-1")
    assert (key.used.credential_version, key.used.would_refuse_policy) == (3, REQUIRED)


@pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
async def test_only_a_users_key_serves_where_one_is_required(source: KeySource) -> None:
    vault = InMemoryKeyVault(source=source, would_refuse_policy=REQUIRED)

    with pytest.raises(InternalError, match="only the user's"):
        await resolve(vault, a_request(policy=REQUIRED))


@pytest.mark.parametrize("source", [KeySource.PLATFORM, KeySource.TEAM_GATEWAY])
@pytest.mark.parametrize("told", [None, PREFERRED])
async def test_what_is_only_reported_on_must_be_told(source: KeySource, told: KeyPolicy | None) -> None:
    vault = InMemoryKeyVault(source=source, would_refuse_policy=told)

    with pytest.raises(InternalError, match="without a word of the policy"):
        await resolve(vault, a_request(policy=REQUIRED, report_only=True))


@pytest.mark.parametrize("policy", KeyPolicy)
async def test_the_platforms_key_goes_to_no_address_of_anybodys(policy: KeyPolicy) -> None:
    vault = InMemoryKeyVault(
        source=KeySource.PLATFORM, base_url=GATEWAY_URL, would_refuse_policy=KeyPolicy.USER_KEY_REQUIRED
    )

    with pytest.raises(InternalError, match="a caller's address"):
        await resolve(vault, a_request(policy=policy, report_only=True))


@pytest.mark.parametrize("source", [source for source in KeySource if source is not KeySource.PLATFORM])
async def test_keys_with_an_address_of_their_own(source: KeySource) -> None:
    vault = InMemoryKeyVault(source=source, base_url=GATEWAY_URL)

    assert (await resolve(vault)).base_url == GATEWAY_URL


@pytest.mark.parametrize("policy", [policy for policy in KeyPolicy if policy is not REQUIRED])
async def test_report_only_changes_nothing_for_other_policies(policy: KeyPolicy) -> None:
    vault = InMemoryKeyVault(source=KeySource.PLATFORM)

    key = await resolve(vault, a_request(policy=policy, report_only=True))

    assert key.used.would_refuse_policy is None
