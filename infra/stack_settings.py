"""Where the commands find the stack: the environment, else the stack's `dev.env`."""

import os

from infra.bootstrap.envfiles import read_env
from infra.local.home import Home


class UsageError(Exception):
    """The command cannot be carried out as given."""


def setting(name: str) -> str:
    """Return a setting. Raises UsageError when it is nowhere."""
    value = optional(name)
    if not value:
        raise UsageError(f"{name} is neither set nor in {home().dev_env}; `make up` writes it")
    return value


def optional(name: str) -> str | None:
    return os.environ.get(name) or read_env(home().dev_env).get(name)


def home() -> Home:
    return Home.of(os.environ)
