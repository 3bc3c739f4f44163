"""Which of a caller's keys could serve a model, in the order in which they are tried."""

from collections.abc import Iterator
from dataclasses import dataclass

from services.api_edge.domain.flows import Flow
from shared.contracts.keys import KeyStatus
from shared.kernel.key_order import own_services, own_source, platform_services, platform_source
from shared.kernel.names import KeyService, KeySource


@dataclass(frozen=True, slots=True)
class UsableKey:
    source: KeySource
    service: KeyService


def usable_keys(provider: KeyService, status: KeyStatus) -> tuple[UsableKey, ...]:
    """Return those that are there and allowed; the flow's policy may still leave some out."""
    return tuple(_usable(provider, status))


def is_served(provider: KeyService, flow: Flow, status: KeyStatus) -> bool:
    """Say whether a stored key or the platform's could serve a run of this flow."""
    usable = usable_keys(provider, status)
    if flow.policy.is_strict(report_only=flow.report_only):
        return any(key.source.is_byok for key in usable)
    if flow.policy.takes_own_keys:
        return bool(usable)
    routes = platform_services(provider)
    return any(keys.has_platform_key for keys in status.services if keys.service in routes)


def _usable(provider: KeyService, status: KeyStatus) -> Iterator[UsableKey]:
    users = {keys.service for keys in status.services if keys.has_user_key}
    platforms = {keys.service for keys in status.services if keys.has_platform_key}
    for service in own_services(provider):
        if service in users:
            yield UsableKey(own_source(service), service)
    for service in platform_services(provider):
        if service in platforms and status.lends(service):
            yield UsableKey(platform_source(service), service)
