"""What was asked of a stack. It holds until `make down`, so that a plain `make up` changes nothing."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from infra.bootstrap.envfiles import write_private
from infra.bootstrap.step import JWT_SECRET
from infra.local.home import Home
from infra.local.known_settings import PREFIX, readers
from shared.kernel.names import INFERENCE, KeyService

JWKS_URL = f"{PREFIX}AUTH__JWKS_URL"

# What dev.env and the stack itself say is no wish: sourcing dev.env before `make up` must change nothing.
# The JWT secret is the bootstrap's to keep.
_NOT_WISHES = {
    *("HOME", "URL", "REALM", "INSTANCE", "ENV_FILE", "SIMULATOR_URL", "HTTP__HOST"),
    *("USER_ID", "USER_TOKEN", "USER2_ID", "USER2_TOKEN", "ADMIN_TOKEN"),
    *("AMQP_URL", "ANALYST_AMQP_URL", "POSTGRES_URL"),
    *("VAULT_ADDR", "VAULT_NAMESPACE", "VAULT_ROLE_ID", "VAULT_SECRET_ID"),
    "AUTH__JWT_SECRET",
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
        asked = {**self.overrides, **environ}
        return replace(
            self,
            inference=self.inference if inference is None else inference,
            simulator=self.simulator if simulator is None else simulator,
            overrides={name: value for name, value in asked.items() if value and _is_wish(name)},
        )

    def settings_for(self, service: str, *, simulator_url: str) -> dict[str, str]:
        """Return the settings that go into one service's environment."""
        own = {name: value for name, value in self.overrides.items() if service in readers(name)}
        if not self.simulator or service != INFERENCE:
            return own
        return {**{_base_url(provider): f"{simulator_url}/v1" for provider in KeyService}, **own}

    def jwt_secret(self, environ: Mapping[str, str]) -> str | None:
        """Return the one that is asked for, which the bootstrap keeps; none beside a JWKS URL."""
        return None if JWKS_URL in self.overrides else environ.get(JWT_SECRET) or None

    @property
    def edge_port(self) -> int | None:
        port = self.overrides.get("LATCHKEY_HTTP__PORT", "")
        return int(port) or None if port.isdecimal() else None


def recall(home: Home) -> Wishes:
    path = home / "wishes.json"
    return Wishes(**json.loads(path.read_text())) if path.exists() else Wishes()


def remember(home: Home, wishes: Wishes) -> None:
    write_private(home / "wishes.json", json.dumps(asdict(wishes), indent=1))


def forget(home: Home) -> None:
    (home / "wishes.json").unlink(missing_ok=True)


def unknown(environ: Mapping[str, str]) -> list[str]:
    """Return what looks like a setting and is none: misspelt, perhaps."""
    ours = [name for name in environ if name.startswith(PREFIX)]
    return sorted(name for name in ours if name.removeprefix(PREFIX) not in _NOT_WISHES and not readers(name))


def _is_wish(name: str) -> bool:
    return name.removeprefix(PREFIX) not in _NOT_WISHES and bool(readers(name))


def _base_url(provider: KeyService) -> str:
    return f"{PREFIX}PROVIDERS__{provider.upper()}__BASE_URL"
