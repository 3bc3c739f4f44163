"""The settings that services know, by the names of their variables. Secrets are not among them."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, get_args, get_origin

from pydantic import BaseModel

from services.api_edge.settings import EdgeSettings
from services.billing.settings import BillingSettings
from services.inference.settings import InferenceSettings
from services.key_vault.settings import KeyVaultSettings
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT
from shared.kernel.secret import SecretText
from shared.runtime.settings import LatchkeySettings

PREFIX: Final = "LATCHKEY_"
_SETTINGS: Final[Mapping[str, type[LatchkeySettings]]] = {
    API_EDGE: EdgeSettings,
    KEY_VAULT: KeyVaultSettings,
    INFERENCE: InferenceSettings,
    BILLING: BillingSettings,
}


def readers(name: str) -> list[str]:
    """Return the services that have a setting of this name."""
    return [service for service, settings in _SETTINGS.items() if name in _names(settings, PREFIX)]


def check_settings(environ: Mapping[str, str]) -> None:
    """Raise SettingsError for the first service that could not start with these."""
    for settings in _SETTINGS.values():
        settings.check(environ)


def _names(settings: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in settings.model_fields.items():
        yield from _of_kind(f"{prefix}{name.upper()}", field.annotation)


def _of_kind(name: str, kind: Any) -> Iterator[str]:
    if SecretText in (kind, *get_args(kind)):
        return
    if get_origin(kind) is dict:
        keys, values = get_args(kind)
        for key in keys:
            yield from _of_kind(f"{name}__{key.upper()}", values)
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        yield from _names(kind, f"{name}__")
    else:
        yield name
