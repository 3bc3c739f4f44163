"""Models: `provider/model`, or a bare name that is listed or tells its provider."""

import re
from collections.abc import Iterator, Mapping
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
    """`created`: Unix seconds, for OpenAI's list shape; `bare`: patterns of providers' bare names. Raises
    ValueError when the bare name of a listed model is ambiguous.
    """

    def __init__(
        self, models: tuple[Model, ...], created: int, bare: Mapping[KeyService, str] | None = None
    ) -> None:
        self.created = created
        self._models = models
        self._bare_of = {provider: re.compile(names) for provider, names in (bare or {}).items()}
        self._bare = {model.id.partition("/")[2]: model for model in models}
        if len(self._bare) != len(models):
            raise ValueError("two models of the catalogue share a bare name")

    @classmethod
    def read(cls, text: bytes) -> "Catalogue":
        data = orjson.loads(text)
        models = (Model(KeyService(name.partition("/")[0]), name) for name in data["models"])
        bare = {KeyService(provider): names for provider, names in data.get("bare", {}).items()}
        return cls(tuple(models), data["created"], bare)

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models)

    def listed(self, name: str) -> Model | None:
        """Return a listed model by its id or its bare name."""
        return self._bare.get(name) or next((model for model in self._models if model.id == name), None)

    def find(self, name: str, param: str = "model") -> Model:
        """Return the model a caller means by a `param`. A known provider's model need not be listed.

        Raises BadInputError for an unknown provider or bare name, and for a key put in its place.
        """
        if known := self._bare.get(name):
            return known
        prefix, _, rest = name.partition("/")
        if (provider := _PROVIDERS.get(prefix)) is not None and is_model_name(rest):
            return Model(provider, name)
        if (maker := self._maker(name)) is not None and is_model_name(name):
            return Model(maker, f"{maker}/{name}")
        raise BadInputError(UNKNOWN_MODEL, param)

    def _maker(self, bare: str) -> KeyService | None:
        """Return whose model a bare name must be: clients have the names of new ones, and of snapshots."""
        if "/" in bare:
            return None
        makers = (provider for provider, names in self._bare_of.items() if names.fullmatch(bare))
        return next(makers, None)
