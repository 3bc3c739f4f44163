"""The providers' data file, and the addresses that the settings put in its place."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from services.inference.domain.providers import ProviderSpec
from shared.kernel.names import KeyService

_FILE: Final = Path(__file__).parents[1] / "providers.toml"


def load_providers(base_urls: Mapping[KeyService, str]) -> dict[KeyService, ProviderSpec]:
    """Return every service's spec. Raises pydantic's ValidationError or KeyError for a broken file."""
    entries = tomllib.loads(_FILE.read_text())
    return {service: _spec(service, entries[service], base_urls.get(service)) for service in KeyService}


def _spec(service: KeyService, entry: dict[str, Any], base_url: str | None) -> ProviderSpec:
    given = {"base_url": base_url, "overridden": True} if base_url else {}
    return TypeAdapter(ProviderSpec).validate_python({"service": service, **entry, **given})
