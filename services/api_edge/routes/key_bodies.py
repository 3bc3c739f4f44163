"""What clients send about their keys. No field that is shown again may hold a key."""

from typing import Annotated, Literal

from pydantic import AliasChoices, Field

from services.api_edge.routes.wire import Input, Shown
from shared.contracts.keys import POSITION_MAX
from shared.kernel.base_url import BASE_URL_CHARS_MAX
from shared.kernel.lengths import LABEL_CHARS_MAX
from shared.kernel.names import KeyService
from shared.kernel.secret import SecretText

_Label = Annotated[Shown, Field(max_length=LABEL_CHARS_MAX)]
_Position = Annotated[int, Field(strict=True, ge=0, le=POSITION_MAX)]
_BaseUrl = Annotated[
    Annotated[Shown, Field(max_length=BASE_URL_CHARS_MAX)] | None,
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
