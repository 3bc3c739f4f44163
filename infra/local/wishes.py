"""What was asked of a stack. It holds until `make down`, so that a plain `make up` changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from infra.bootstrap.envfiles import write_private
from infra.local.home import Home
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, SERVICES, KeyService

# What dev.env and the stack itself say is no wish: sourcing dev.env before `make up` must change nothing.
_NOT_WISHES = {
    *("HOME", "URL", "REALM", "INSTANCE", "ENV_FILE", "SIMULATOR_URL", "HTTP__HOST"),
    *("USER_ID", "USER_TOKEN", "USER2_ID", "USER2_TOKEN", "ADMIN_TOKEN"),
    *("AMQP_URL", "ANALYST_AMQP_URL", "POSTGRES_URL", "VAULT_ADDR", "VAULT_ROLE_ID", "VAULT_SECRET_ID"),
}
_PREFIX = "LATCHKEY_"
_READERS = {
    "PROVIDERS__": INFERENCE,
    "PROVIDER_": INFERENCE,
    "CONCURRENCY": INFERENCE,
    "MAX_TOKENS_": INFERENCE,
    "HTTP__": API_EDGE,
    "AUTH_": API_EDGE,
    "SESSION_KEY_": KEY_VAULT,
    "CREDIT_": BILLING,
    "MARKUP": BILLING,
}


@dataclass(frozen=True)
class Wishes:
    """`overrides` are `LATCHKEY_…` settings for the services, from the environment of `make up`."""

    inference: int = 1
    simulator: bool = False
    overrides: Mapping[str, str] = field(default_factory=dict)

    def and_also(
        self, *, inference: int | None, simulator: bool | None, environ: Mapping[str, str]
    ) -> "Wishes":
        """Return these wishes with new ones on top; an override set to nothing is taken back."""
        asked = {name: value for name, value in environ.items() if _is_wish(name)}
        return replace(
            self,
            inference=self.inference if inference is None else inference,
            simulator=self.simulator if simulator is None else simulator,
            overrides={name: value for name, value in {**self.overrides, **asked}.items() if value},
        )

    def settings_for(self, service: str, *, simulator_url: str) -> dict[str, str]:
        """Return the settings that go into one service's environment."""
        own = {name: value for name, value in self.overrides.items() if service in _readers(name)}
        if not self.simulator or service != INFERENCE:
            return own
        return {**{_base_url(provider): f"{simulator_url}/v1" for provider in KeyService}, **own}

    @property
    def edge_port(self) -> int | None:
        port = self.overrides.get("LATCHKEY_HTTP__PORT", "")
        return int(port) if port.isdecimal() else None


def recall(home: Home) -> Wishes:
    path = home / "wishes.json"
    return Wishes(**json.loads(path.read_text())) if path.exists() else Wishes()


def remember(home: Home, wishes: Wishes) -> None:
    write_private(home / "wishes.json", json.dumps(asdict(wishes), indent=1))


def forget(home: Home) -> None:
    (home / "wishes.json").unlink(missing_ok=True)


def _is_wish(name: str) -> bool:
    return name.startswith(_PREFIX) and name.removeprefix(_PREFIX) not in _NOT_WISHES


def _readers(name: str) -> tuple[str, ...]:
    setting = name.removeprefix(_PREFIX)
    return next(((who,) for prefix, who in _READERS.items() if setting.startswith(prefix)), SERVICES)


def _base_url(provider: KeyService) -> str:
    return f"{_PREFIX}PROVIDERS__{provider.upper()}__BASE_URL"
