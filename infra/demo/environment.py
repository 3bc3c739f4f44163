"""What the story needs to know about a running stack: the names of `dev.env`."""

from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from infra.bootstrap.envfiles import read_env
from infra.demo.checks import StoryError


class Environment(BaseModel):
    """A stack's addresses and its administrators' secrets (which never show in a repr)."""

    model_config = ConfigDict(extra="ignore", frozen=True, hide_input_in_errors=True)

    url: str = Field(alias="LATCHKEY_URL")
    admin_token: str = Field(alias="LATCHKEY_ADMIN_TOKEN", repr=False)
    analyst_amqp_url: str = Field(alias="LATCHKEY_ANALYST_AMQP_URL", repr=False)
    postgres_url: str = Field(alias="LATCHKEY_POSTGRES_URL", repr=False)
    vault_addr: str = Field(alias="VAULT_ADDR")
    vault_token: str = Field(alias="VAULT_TOKEN", repr=False)
    simulator_url: str = Field(alias="LATCHKEY_SIMULATOR_URL")

    @property
    def realm(self) -> str:
        """The realm: it names the database."""
        return urlsplit(self.postgres_url).path.removeprefix("/")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read an env file. Raises StoryError naming what is missing."""
        if not path.exists():
            raise StoryError(f"there is no {path}: is the stack up?")
        try:
            return cls.model_validate(read_env(path))
        except ValidationError as error:
            missing = ", ".join(str(item["loc"][0]) for item in error.errors(include_input=False))
            raise StoryError(f"{path} does not tell {missing}") from None
