"""What the bootstrap works on: administrators' addresses, and the names that carry the realm."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote, urlsplit, urlunsplit

_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


class BootstrapError(RuntimeError):
    """A part is missing or refuses; the message names it and holds no secret."""


class LoginRefusedError(BootstrapError):
    """A server that is there does not take its administrator's login."""


@dataclass(frozen=True, repr=False)
class Servers:
    """The backing servers as their administrator reaches them.

    `management_url` takes its login from `amqp_url` when it has none of its own. `vault_namespace`: where in
    Vault everything is to be, if not in its root.
    """

    amqp_url: str
    management_url: str
    vault_addr: str
    vault_token: str
    postgres_url: str
    vault_namespace: str | None = None


@dataclass(frozen=True)
class Realm:
    """One installation inside the servers; everything global in a server carries its name.

    `platform_keys` maps a service (`openai`, …) to its key or pool of keys; they go to Vault, where keys that
    ops put there for other services stay as they are. `gateway_url` is the team gateway's address.
    `jwt_secret` is for the edge's env file; without one the one there stays, or is made up.
    """

    name: str = "latchkey"
    platform_keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict, repr=False)
    gateway_url: str | None = None
    jwt_secret: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a realm is one word [a-z][a-z0-9_]*, not {self.name!r}")

    def login(self, who: str) -> str:
        """Return the name of a service (or `admin`, `analyst`) in RabbitMQ, Postgres and Vault."""
        return f"{self.name}_{who}"

    @property
    def transit(self) -> str:
        return f"{self.name}_transit"


def url_for(url: str, *, user: str, password: str, path: str) -> str:
    """Return the same server's URL with another login and path (vhost or database)."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return urlunsplit((parts.scheme, f"{login}@{host}", f"/{quote(path, safe='')}", parts.query, ""))


def password_in(url: str | None) -> str | None:
    """Return the password a URL carries."""
    found = urlsplit(url).password if url else None
    return unquote(found) if found else None
