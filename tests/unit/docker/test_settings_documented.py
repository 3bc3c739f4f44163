"""What docs/settings.md tells, docker compose passes on, and the services know: all three agree."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from services.api_edge.settings import EdgeSettings
from services.billing.settings import BillingSettings
from services.inference.settings import InferenceSettings
from services.key_vault.settings import KeyVaultSettings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
COMPOSE = (ROOT / "docker-compose.yml").read_text()
_SETTINGS = (EdgeSettings, BillingSettings, InferenceSettings, KeyVaultSettings)
_INTERNAL = {
    *("REALM", "INSTANCE", "AMQP_URL", "POSTGRES_URL"),  # the bootstrap writes them
    *("VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_ROLE_ID", "VAULT_SECRET_ID"),
    "HTTP__HOST",  # natively and in compose fixed
    "PROVIDERS",  # documented as PROVIDERS__<SERVICE>__BASE_URL
}


def _documented() -> set[str]:
    page = (ROOT / "docs" / "settings.md").read_text()
    return set(re.findall(r"`LATCHKEY_([A-Z_]+)`", page))


def _known(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield the names of all settings, of groups with `__` between."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _known(kind, f"{prefix}{name.upper()}__")
        else:
            yield prefix + name.upper()


def _of_services() -> set[str]:
    return {name for settings in _SETTINGS for name in _known(settings)}


def _of_compose() -> set[str]:
    """Return what compose itself reads of its caller's environment, and no service."""
    return set(re.findall(r"\$\{LATCHKEY_([A-Z_]+)", COMPOSE))


def test_every_documented_setting_is_known_to_a_service_or_to_compose() -> None:
    assert _documented() - _of_services() - _of_compose() == set()


def test_every_setting_is_documented() -> None:
    assert len(_of_compose()) > 5
    assert (_of_services() | _of_compose()) - _documented() == _INTERNAL


def test_every_documented_setting_reaches_the_services_in_compose_or_is_fixed_there() -> None:
    told = set(re.findall(r"- LATCHKEY_([A-Z_]+)(?:=\S+)?(?: #.*)?$", COMPOSE, re.MULTILINE))
    assert len(_documented()) > 10
    assert _documented() - _of_compose() - told == set()
