"""Where a key may go: a caller's address gets that caller's own key, and nobody else's (K5)."""

from dataclasses import dataclass

from services.inference.adapters.egress import check_base_url
from services.inference.domain.providers import ProviderSpec
from shared.kernel.errors import InternalError
from shared.kernel.names import KeyService, KeySource


@dataclass(frozen=True, slots=True)
class Destination:
    """`guarded`: it is a caller's, and is only called behind the egress guard. No slash at the end."""

    base_url: str
    guarded: bool


def destination(spec: ProviderSpec, source: KeySource, base_url: str | None) -> Destination:
    """Return where a key of this source goes; `base_url` came with the key.

    The team gateway's address is its operators' (it lies in Vault, beside the key): trusted configuration, as
    the settings are, which win. Raises InvalidRequestError for a caller's address that may not be called, and
    InternalError for a key of the platform's that was to go to one.
    """
    if base_url is None:
        return Destination(spec.base_url.rstrip("/"), guarded=False)
    if source.is_byok:
        return Destination(check_base_url(base_url), guarded=True)
    if source is KeySource.TEAM_GATEWAY and spec.service is KeyService.GATEWAY:
        return Destination((spec.base_url if spec.overridden else base_url).rstrip("/"), guarded=False)
    raise InternalError("a platform key was offered for a caller's address")
