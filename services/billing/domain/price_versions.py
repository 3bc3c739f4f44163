"""Overrides of listed prices: which version holds at a time."""

from collections.abc import Iterable
from datetime import datetime
from operator import attrgetter

from shared.contracts.prices import PriceSet
from shared.kernel.errors import InvalidRequestError
from shared.kernel.names import KeyService


class PriceVersions:
    """All versions of all overrides. Of a model's name, upper and lower case are the same."""

    def __init__(self, versions: Iterable[PriceSet] = ()) -> None:
        self._latest_first: dict[str, list[PriceSet]] = {}
        for version in sorted(versions, key=attrgetter("rank")):
            self._latest_first.setdefault(version.model.lower(), []).insert(0, version)

    def find(self, provider: KeyService, model: str, at: datetime) -> PriceSet | None:
        """Return what was set for a model and holds at a time, which may be a withdrawal."""
        versions = self._latest_first.get(full_name(provider, model).lower(), ())
        return next((version for version in versions if version.valid_from <= at), None)


def full_name(provider: KeyService, model: str) -> str:
    """Return `provider/model` of a model named with or without its provider."""
    return f"{provider}/{model.removeprefix(f'{provider}/')}"


def provider_of(model: str) -> KeyService:
    """Return the provider of a `provider/model`. Raises InvalidRequestError for an unknown one."""
    prefix, _, name = model.partition("/")
    if prefix not in set(KeyService) or not name:
        raise InvalidRequestError("model: names no known provider")
    return KeyService(prefix)
