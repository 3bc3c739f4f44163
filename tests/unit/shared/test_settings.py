from pathlib import Path

import pytest

from shared.runtime.settings import ServiceSettings, SettingsError, VaultSettings

pytestmark = pytest.mark.unit

CANARY = "sk-canary-0123456789"


class Settings(VaultSettings, ServiceSettings):
    pass


@pytest.fixture
def env_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "service.env"
    path.write_text(
        "LATCHKEY_AMQP_URL=amqp://file\nLATCHKEY_POSTGRES_URL=postgresql://file\nLATCHKEY_REALM=t1\n"
        f"LATCHKEY_VAULT_ADDR=http://v\nLATCHKEY_VAULT_ROLE_ID=r\nLATCHKEY_VAULT_SECRET_ID={CANARY}\nOTHER=1\n"
    )
    monkeypatch.setenv("LATCHKEY_ENV_FILE", str(path))
    return path


@pytest.mark.usefixtures("env_file")
def test_the_environment_wins_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_AMQP_URL", "amqp://env")
    settings = Settings.load()
    assert settings.amqp_url.reveal() == "amqp://env"
    assert settings.postgres_url.reveal() == "postgresql://file"
    assert (settings.realm, len(settings.instance)) == ("t1", 12)


@pytest.mark.usefixtures("env_file")
def test_settings_do_not_print_their_secrets() -> None:
    assert CANARY not in repr(Settings.load())
    assert "amqp://file" not in repr(Settings.load())


def test_a_wrong_or_missing_setting_is_named_without_its_value(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env_file.write_text("")
    monkeypatch.setenv("LATCHKEY_REALM", CANARY)
    with pytest.raises(SettingsError) as wrong:
        Settings.load()
    assert "LATCHKEY_AMQP_URL" in str(wrong.value)
    assert "LATCHKEY_REALM" in str(wrong.value)
    assert CANARY not in str(wrong.value)


@pytest.mark.parametrize(
    ("name", "url", "told"),
    [
        ("LATCHKEY_AMQP_URL", f"amqp://a:{CANARY}/@b", "cannot be read; in a password"),
        ("LATCHKEY_POSTGRES_URL", f"postgresql://a:{CANARY}[@b/c", "cannot be read; in a password"),
        ("LATCHKEY_POSTGRES_URL", f"mysql://a:{CANARY}@b/c", "does not begin with postgresql://"),
        ("LATCHKEY_VAULT_ADDR", f"vault:{CANARY}", "does not begin with http:// or https://"),
    ],
)
@pytest.mark.usefixtures("env_file")
def test_what_is_no_address_is_told_without_its_password(
    name: str, url: str, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url)
    with pytest.raises(SettingsError, match=f"{name}: {told}") as wrong:
        Settings.load()
    assert CANARY not in str(wrong.value)


def test_a_setting_that_is_no_json_is_named_without_its_value(
    env_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert env_file.exists()
    monkeypatch.setenv("LATCHKEY_METRICS", CANARY)
    with pytest.raises(SettingsError, match="LATCHKEY_METRICS") as wrong:
        Settings.load()
    assert CANARY not in str(wrong.value)
