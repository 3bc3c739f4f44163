"""The broker's permissions against the contracts: each service may publish its own messages and no others."""

import re

import pytest

from infra.bootstrap.rabbitmq import permissions
from shared.contracts.billing import AuthorizeRun, GetReceipt, ListUsage
from shared.contracts.consent import ChangeUserSettings, GetUserSettings
from shared.contracts.credits import (
    AdjustCredits,
    CreditsAdjusted,
    CreditsCharged,
    CreditsGranted,
    DeductCredits,
    GetBalance,
    GrantCredits,
    ListStatement,
)
from shared.contracts.key_events import ConsentChanged, KeyRevoked, KeyStored
from shared.contracts.keys import (
    GetKeyStatus,
    IssueSessionKey,
    ListKeys,
    ReplaceKey,
    RevokeKey,
    RevokeKeys,
    RewrapKeys,
    StoreKey,
    UpdateKey,
)
from shared.contracts.message import Message
from shared.contracts.models import ListModels
from shared.contracts.platform_keys import ListPlatformKeys, MendPlatformKey
from shared.contracts.prices import FindPrice, ListPrices, SetPrice
from shared.contracts.resolving import OpenKey, ResolveKey
from shared.contracts.runs import RunEnded, RunRequested
from shared.contracts.topology import EXCHANGES, queues
from shared.contracts.usage import UsageRecorded
from shared.contracts.validation import ValidateKey
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, SERVICES

pytestmark = pytest.mark.unit

_PUBLISHERS: dict[type[Message], str] = {
    RunRequested: API_EDGE,
    RunEnded: INFERENCE,
    **dict.fromkeys(
        (
            *(
                StoreKey,
                ReplaceKey,
                UpdateKey,
                ListKeys,
                RevokeKey,
                RevokeKeys,
                IssueSessionKey,
                GetKeyStatus,
            ),
            *(
                GetUserSettings,
                ChangeUserSettings,
                ListPlatformKeys,
                MendPlatformKey,
                RewrapKeys,
                ValidateKey,
                ListModels,
            ),
        ),
        API_EDGE,
    ),
    KeyStored: KEY_VAULT,
    KeyRevoked: KEY_VAULT,
    ConsentChanged: KEY_VAULT,
    OpenKey: INFERENCE,
    GrantCredits: API_EDGE,
    GetBalance: API_EDGE,
    GetReceipt: API_EDGE,
    ListUsage: API_EDGE,
    AdjustCredits: API_EDGE,
    DeductCredits: API_EDGE,
    ListStatement: API_EDGE,
    SetPrice: API_EDGE,
    ListPrices: API_EDGE,
    FindPrice: INFERENCE,
    ResolveKey: INFERENCE,
    AuthorizeRun: INFERENCE,
    UsageRecorded: INFERENCE,
    CreditsCharged: BILLING,
    CreditsGranted: BILLING,
    CreditsAdjusted: BILLING,
}
_REPLIES_FROM = {
    API_EDGE: set(),
    KEY_VAULT: {API_EDGE, INFERENCE},
    BILLING: {API_EDGE, INFERENCE},
    INFERENCE: {API_EDGE},
}
_READS = {
    API_EDGE: {"replies", "api_edge.runs"},
    KEY_VAULT: {"replies", "keys", "key_vault.rpc", "key_vault.usage"},
    INFERENCE: {"replies", "control", "keys", "inference.runs", "inference.rpc"},
    BILLING: {"replies", "billing.rpc", "billing.usage"},
    "analyst": {"usage.events"},
}


_OWN_QUEUES = ("reply", "control", "keys")
_HEEDS_KEYS = (KEY_VAULT, INFERENCE)


def _may_publish(who: str, exchange: str, key: str) -> bool:
    rights = permissions()[who]
    if not re.search(rights.get("write", "^$"), exchange):
        return False
    return EXCHANGES[exchange] != "topic" or bool(re.search(rights["topics"][exchange]["write"], key))


@pytest.mark.parametrize("who", [*SERVICES, "analyst"])
@pytest.mark.parametrize("message", _PUBLISHERS, ids=lambda message: message.ROUTING_KEY)
def test_only_its_sender_publishes_a_message(message: type[Message], who: str) -> None:
    allowed = _PUBLISHERS[message] == who
    assert _may_publish(who, message.EXCHANGE, message.ROUTING_KEY) == allowed


@pytest.mark.parametrize("who", SERVICES)
@pytest.mark.parametrize("asker", SERVICES)
def test_replies_go_to_those_who_ask(who: str, asker: str) -> None:
    assert _may_publish(who, "replies", f"reply.{asker}.1") == (asker in _REPLIES_FROM[who])


@pytest.mark.parametrize("who", _READS)
def test_it_reads_its_own_queues_only(who: str) -> None:
    everything = {
        *queues(),
        *EXCHANGES,
        *(f"{kind}.{service}.1" for kind in _OWN_QUEUES for service in SERVICES),
    }
    own = {f"{kind}.{who}.1" for kind in _OWN_QUEUES if kind != "keys" or who in _HEEDS_KEYS}
    own = own if who in SERVICES else set()
    readable = {name for name in everything if re.search(permissions()[who].get("read", "^$"), name)}
    assert readable == _READS[who] | own


@pytest.mark.parametrize("who", SERVICES)
def test_it_declares_its_exclusive_queues_only(who: str) -> None:
    declarable = {
        name for name in (*queues(), *EXCHANGES) if re.search(permissions()[who]["configure"], name)
    }
    assert declarable == set()


@pytest.mark.parametrize("who", [*SERVICES, "analyst"])
def test_nobody_writes_to_the_default_exchange(who: str) -> None:
    assert not re.search(permissions()[who].get("write", "^$"), "amq.default")


@pytest.mark.parametrize("who", SERVICES)
def test_every_writable_topic_exchange_limits_its_routing_keys(who: str) -> None:
    rights = permissions()[who]
    writable = {
        name for name, kind in EXCHANGES.items() if kind == "topic" and re.search(rights["write"], name)
    }
    readable = {
        name for name, kind in EXCHANGES.items() if kind == "topic" and re.search(rights["read"], name)
    }
    assert writable == {name for name, keys in rights["topics"].items() if "write" in keys}
    assert readable == {name for name, keys in rights["topics"].items() if "read" in keys}
