"""Whose key a run uses: first the user's, then, where policy and consent give leave, the platform's.

Pure: told what is known so far, it names a key, says what else must be looked at, or refuses. The platform's
keys are looked at only once the user's were, and none of them is left: no error leads to them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from services.key_vault.domain.ask import Ask, Sent
from services.key_vault.domain.credentials import OwnKeys, StoredCredential
from services.key_vault.domain.fallback import Leave, Lent, LookInPool, lend, no_own_key
from services.key_vault.domain.platform import PoolState
from shared.kernel.key_order import own_services
from shared.kernel.names import CredentialStatus, KeyService


@dataclass(frozen=True)
class Known:
    """What was looked at so far."""

    own: OwnKeys | None = None
    pools: Mapping[KeyService, PoolState] = field(default_factory=dict)


@dataclass(frozen=True)
class Own:
    """Use this stored key of the user's."""

    credential: StoredCredential


@dataclass(frozen=True)
class LookForOwn:
    """Look up the user's stored keys, and consent, first."""


Choice: TypeAlias = Sent | Own | Lent
"""`Sent`: use that key, which came with the run."""
Look: TypeAlias = LookForOwn | LookInPool


def choose(ask: Ask, known: Known) -> Choice | Look:
    """Name the key to use, or what to look at before asking again.

    Raises `user_api_key_required`, `user_api_key_invalid`, `consent_required`, `system_key_exhausted`.
    """
    if not ask.takes_own_keys:
        return lend(ask, Leave(), known.pools)
    if sent := _sent(ask):
        return sent
    if known.own is None:
        return LookForOwn()
    if credential := _stored(ask, known.own):
        return Own(credential)
    if ask.is_strict or ask.has_expired:
        raise no_own_key(ask)
    return lend(ask, Leave.by(known.own.consent), known.pools)


def _sent(ask: Ask) -> Sent | None:
    return next((sent for sent in ask.sent if sent.credential_id not in ask.excluding), None)


def _stored(ask: Ask, own: OwnKeys) -> StoredCredential | None:
    usable = [one for one in own.credentials if _is_usable(one, ask)]
    for service in own_services(ask.provider):
        for credential in usable:
            if credential.place.service is service:
                return credential
    return None


def _is_usable(credential: StoredCredential, ask: Ask) -> bool:
    """Whatever its provider last said of it: a mark may be old, and its owner wants it tried first."""
    is_on = credential.status is not CredentialStatus.INACTIVE
    return is_on and credential.credential_id not in ask.excluding
