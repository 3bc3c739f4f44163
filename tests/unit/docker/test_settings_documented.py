"""What the README says one can set, docker compose passes on, and the services know."""

import re
from pathlib import Path

import pytest

from services.api_edge.settings import EdgeSettings
from services.billing.app import BillingSettings
from services.inference.settings import InferenceSettings
from services.key_vault.app import Settings as KeyVaultSettings

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
_SETTINGS = (EdgeSettings, BillingSettings, InferenceSettings, KeyVaultSettings)


def _documented() -> set[str]:
    table = (ROOT / "README.md").read_text().partition("### Settings")[2].partition("\n## ")[0]
    return set(re.findall(r"`LATCHKEY_([A-Z_]+)`", table))


def test_every_documented_setting_is_known_to_a_service() -> None:
    known = {name.upper() for settings in _SETTINGS for name in settings.model_fields}
    assert {name.split("__")[0] for name in _documented()} <= known


def test_every_documented_setting_reaches_the_services_in_compose() -> None:
    passed = set(
        re.findall(r"- LATCHKEY_([A-Z_]+)$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE)
    )
    passed |= {"AUTH__JWT_SECRET", "AUTH__JWKS_URL"}  # with a comment behind them
    passed |= {"METRICS__HOST", "METRICS__PORT"}  # fixed there
    assert len(_documented()) > 10
    assert _documented() <= passed
