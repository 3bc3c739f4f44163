"""Models: `provider/model`, or a bare name that the catalogue knows."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from services.api_edge.domain.errors import UNKNOWN_MODEL, BadInputError
from shared.kernel.names import KeyService
from shared.kernel.secret import holds_secret

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/+~-]{0,199}")
_PROVIDERS = {service.value: service for service in KeyService}


def is_model_name(name: str) -> bool:
    """Say whether a provider's model may be called so."""
    return _NAME.fullmatch(name) is not None and not holds_secret(name)


@dataclass(frozen=True)
class Model:
    """`id` is `provider/model`."""

    provider: KeyService
    id: str


class Catalogue:
    """`created`: Unix seconds, for OpenAI's list shape. Raises ValueError when a bare name is ambiguous."""

    def __init__(self, models: tuple[Model, ...], created: int) -> None:
        self.created = created
        self._models = models
        self._bare = {model.id.partition("/")[2]: model for model in models}
        if len(self._bare) != len(models):
            raise ValueError("two models of the catalogue share a bare name")

    @classmethod
    def read(cls, text: bytes) -> "Catalogue":
        data = orjson.loads(text)
        models = (Model(KeyService(name.partition("/")[0]), name) for name in data["models"])
        return cls(tuple(models), data["created"])

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def find(self, name: str, param: str = "model") -> Model:
        """Return the model a caller means by a `param`. A known provider's model need not be listed.

        Raises BadInputError for an unknown provider or bare name, and for a key put in its place.
        """
        if known := self._bare.get(name):
            return known
        prefix, _, rest = name.partition("/")
        provider = _PROVIDERS.get(prefix)
        if provider is None or not is_model_name(rest):
            raise BadInputError(UNKNOWN_MODEL, param)
        return Model(provider, name)
