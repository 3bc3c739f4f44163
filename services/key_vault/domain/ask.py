"""What a run asks for. What comes with it is tried first, then what `shared/kernel/key_order.py` says."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from shared.kernel.errors import InvalidRequestError
from shared.kernel.key_order import own_services
from shared.kernel.names import KeyPolicy, KeyService, KeySource


@dataclass(frozen=True)
class Sent:
    """A key that came with the run: the `number`th of its source, from 1."""

    source: KeySource
    number: int = 1

    @property
    def credential_id(self) -> str:
        """`request`, `request:2`, …, `session`."""
        return self.source.value if self.number == 1 else f"{self.source}:{self.number}"


@dataclass(frozen=True)
class Ask:
    """What a run asks for, and when. `sent`: what came with it, best first; `has_expired`: whether more came,
    which cannot be opened any more; `excluding`: ids of keys that failed.
    """

    policy: KeyPolicy
    provider: KeyService
    at: datetime
    report_only: bool = False
    sent: Sequence[Sent] = ()
    has_expired: bool = False
    excluding: Collection[str] = ()

    @property
    def takes_own_keys(self) -> bool:
        return self.policy.takes_own_keys

    @property
    def is_strict(self) -> bool:
        """Whether nothing but the user's own keys may serve."""
        return self.policy.is_strict(report_only=self.report_only)


def check_serves(service: KeyService, provider: KeyService) -> None:
    """Refuse a key sent with the run that can never serve it: passing over it would spend another."""
    if service not in own_services(provider):
        raise InvalidRequestError(f"a key for {service} cannot call models of {provider}", service=provider)
