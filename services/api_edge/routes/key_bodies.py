"""What clients send about their keys. No field that is shown again may hold a key."""

from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field

from services.api_edge.routes.wire import Input
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText, holds_secret


def _shown(text: str) -> str:
    if holds_secret(text) or not text.isprintable():
        raise ValueError("a key in a field that is shown, or not printable")
    return text


_Label = Annotated[str, Field(max_length=200), AfterValidator(_shown)]
_Position = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
_BaseUrl = Annotated[
    Annotated[str, Field(max_length=512), AfterValidator(_shown)] | None,
    Field(validation_alias=AliasChoices("baseUrl", "base_url")),
]


class NewKeyBody(Input):
    """`position`: of two keys for one service, the lower is tried first; of equals, the newer.

    With `persist: "session"` nothing is stored, so `label` and `position` mean nothing.
    """

    service: KeyService
    api_key: SecretText
    label: _Label | None = None
    persist: Literal["vault", "session"] = "vault"
    base_url: _BaseUrl = None
    position: _Position | None = None


class ReplaceKeyBody(Input):
    """What is not given stays."""

    api_key: SecretText
    label: _Label | None = None
    base_url: _BaseUrl = None


class ChangeKeyBody(Input):
    """What is not given stays. A `label` of null or "" is removed."""

    label: _Label | None = None
    position: _Position | None = None
    status: Literal["active", "inactive"] | None = None


class ValidateKeyBody(Input):
    """Without `api_key`: the stored key that would be tried first."""

    service: KeyService
    api_key: SecretText | None = None
    base_url: _BaseUrl = None
