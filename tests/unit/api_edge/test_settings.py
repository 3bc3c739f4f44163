"""The edge's settings: modes of authentication exclude each other, values are never told."""

import pytest

from services.api_edge.settings import AuthSettings, EdgeSettings
from shared.kernel.secret import SecretText
from shared.runtime.settings import SettingsError

pytestmark = pytest.mark.unit

ENV = {
    "LATCHKEY_AMQP_URL": "amqp://u:p@h/v",
    "LATCHKEY_POSTGRES_URL": "postgres://u:p@h/d",
    "LATCHKEY_VAULT_ADDR": "http://v",
    "LATCHKEY_VAULT_ROLE_ID": "r",
    "LATCHKEY_VAULT_SECRET_ID": "s",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENV.items():
        monkeypatch.setenv(name, value)


def test_defaults() -> None:
    settings = EdgeSettings.load()
    assert (settings.start_timeout_s, settings.run_timeout_s) == (10, 300)
    assert (settings.runs_in_flight_max, settings.body_bytes_max) == (4096, 10 * 1024 * 1024)
    assert settings.auth.jwt_secret is None
    assert settings.auth_mode == "users"


def test_a_deployment_may_be_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_AUTH_MODE", "open")
    assert EdgeSettings.load().auth_mode == "open"
    monkeypatch.setenv("LATCHKEY_AUTH_MODE", "canary")
    with pytest.raises(SettingsError, match="LATCHKEY_AUTH_MODE") as refusal:
        EdgeSettings.load()
    assert "canary" not in str(refusal.value)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_HTTP__PORT", "9000")
    monkeypatch.setenv("LATCHKEY_HTTP__CORS_ORIGINS", '["https://app.example"]')
    monkeypatch.setenv("LATCHKEY_AUTH__JWT_SECRET", "x" * 40)
    monkeypatch.setenv("LATCHKEY_AUTH__ISSUER", "")
    settings = EdgeSettings.load()
    assert settings.http.port == 9000
    assert settings.http.cors_origins == ("https://app.example",)
    assert settings.auth.jwt_secret == SecretText("x" * 40)
    assert settings.auth.issuer is None


def test_a_wrong_setting_is_named_but_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_AUTH__JWT_SECRET", "short-secret")
    with pytest.raises(SettingsError) as refusal:
        EdgeSettings.load()
    assert str(refusal.value) == "LATCHKEY_AUTH: the JWT secret has less than 32 characters"


def test_answers_are_not_kept_for_longer_than_their_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_RESULTS_TTL_S", "172800")
    monkeypatch.setenv("LATCHKEY_RUNS_TTL_S", "86400")
    with pytest.raises(SettingsError, match="LATCHKEY_RUNS_TTL_S is shorter than LATCHKEY_RESULTS_TTL_S"):
        EdgeSettings.load()


@pytest.mark.parametrize(
    "values",
    [
        {"jwt_secret": "x" * 40, "jwks_url": "https://id.example/jwks"},
        {"jwt_secret": "x" * 31},
        {"jwks_url": "https://id.example/jwks", "algorithms": ("HS256",)},
    ],
)
def test_unsafe_modes_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="JW"):
        AuthSettings.model_validate(values)
