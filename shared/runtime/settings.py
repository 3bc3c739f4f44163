"""Settings from the environment (`LATCHKEY_…`, nested by `__`) and the file `LATCHKEY_ENV_FILE` names."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Literal, Self
from uuid import uuid4

from pydantic import BaseModel, Field, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableSettingsError

from shared.kernel.secret import SecretText
from shared.runtime.addresses import AMQP, HTTP, POSTGRES, address

_MISSING = "missing"
_NOBODYS = "LATCHKEY_NOBODYS_"  # no variable begins so
_LEVELS = {"WARN": "WARNING"}

DAY_S = 86_400
YEAR_S = 365 * DAY_S
"""No setting is longer."""


class SettingsError(Exception):
    """A setting is missing or wrong. Names settings, never their values."""


class LatchkeySettings(BaseSettings):
    """The base of all settings; environment variables win over the file."""

    model_config = SettingsConfigDict(
        env_prefix="LATCHKEY_",
        env_nested_delimiter="__",
        extra="ignore",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    @classmethod
    def load(cls) -> Self:
        """Raise SettingsError naming what is missing or wrong."""
        with _named_faults():
            return cls(_env_file=os.environ.get("LATCHKEY_ENV_FILE"))

    @classmethod
    def check(cls, environ: Mapping[str, str]) -> None:
        """Raise SettingsError naming what is wrong among these variables, whatever others are missing, and
        whatever this process' own environment says.
        """
        source = EnvSettingsSource(cls)
        source.env_vars = {name.lower(): value for name, value in environ.items()}
        with _named_faults(heeding_missing=False):
            cls(_env_prefix=_NOBODYS, **source())


@contextmanager
def _named_faults(*, heeding_missing: bool = True) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        faults = error.errors(include_input=False, include_context=False, include_url=False)
        named = [_named(fault) for fault in faults if heeding_missing or fault["type"] != _MISSING]
        if named:
            raise SettingsError("; ".join(named)) from None
    except UnreadableSettingsError as error:  # which repeats no value
        field = re.search(r'field "(\w+)"', str(error))
        name = f"LATCHKEY_{field[1].upper()}" if field else "a setting"
        raise SettingsError(f"{name}, or one below it, is no JSON; lists and objects are") from None


def _named(fault: ErrorDetails) -> str:
    """No message repeats a value: pydantic's tell what is allowed, our validators' what is wrong."""
    name = f"LATCHKEY_{'__'.join(map(str, fault['loc'])).upper()}"
    is_missing = fault["type"] == _MISSING
    return f"{name}: {_MISSING if is_missing else fault['msg'].removeprefix('Value error, ')}"


class MetricsSettings(BaseModel):
    """Where Prometheus reads; without a `port` nowhere."""

    host: str = "127.0.0.1"
    port: int | None = Field(default=None, ge=1, le=65_535)


class TracesSettings(BaseModel):
    """The base URL of an OTLP collector (HTTP), to which spans go; without one nowhere. `sample_ratio`: of
    all traces.
    """

    endpoint: str | None = Field(default=None, pattern=r"^https?://[^\s@]+$")
    sample_ratio: float = Field(default=1.0, ge=0, le=1)


class ServiceSettings(LatchkeySettings):
    """What every service needs. URLs hold passwords, so they are secrets."""

    realm: str = Field(default="latchkey", pattern=r"^[a-z][a-z0-9_]*$")
    instance: str = Field(default_factory=lambda: uuid4().hex[:12], pattern=r"^[A-Za-z0-9_-]+$")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    amqp_url: Annotated[SecretText, address(AMQP)]
    postgres_url: Annotated[SecretText, address(POSTGRES)]
    metrics: MetricsSettings = MetricsSettings()
    traces: TracesSettings = TracesSettings()

    @field_validator("log_level", mode="before")
    @classmethod
    def _in_capitals(cls, level: object) -> object:
        return _LEVELS.get(level.upper(), level.upper()) if isinstance(level, str) else level


class VaultSettings(LatchkeySettings):
    """Mixed into the settings of a service that talks to Vault (AppRole)."""

    vault_addr: Annotated[str, address(HTTP)]
    vault_namespace: str | None = None
    vault_role_id: str
    vault_secret_id: SecretText
