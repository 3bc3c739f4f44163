"""Base URLs that lead, or try to lead, where a caller has no business (`ssrf_urls.json`). All are refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import orjson

_TABLE: Final[dict[str, Any]] = orjson.loads(Path(__file__).with_name("ssrf_urls.json").read_bytes())
INSIDE: Final[dict[str, list[str]]] = _TABLE["resolved_inside"]
"""Names whose addresses, or some of them, are not of the public internet."""
OUTSIDE: Final[dict[str, list[str]]] = _TABLE["resolved_outside"]


def private_hosts() -> list[str]:
    """Return every host that is, or spells, an address of the inside (or none at all)."""
    return [*_TABLE["ipv4"], *_TABLE["ipv6"], *_TABLE["other_spellings"], *INSIDE]


def refused_urls() -> list[str]:
    return sorted(set(_urls()))


def _urls() -> Iterator[str]:
    for group in ("ipv4", "other_spellings", "names", "unicode"):
        yield from (f"https://{host}/v1" for host in _TABLE[group])
    for group in ("ipv6", "zones"):
        yield from (f"https://[{host}]/v1" for host in _TABLE[group])
    yield from (f"https://{name}/v1" for name in INSIDE)
    yield "https://b\N{LATIN SMALL LETTER U WITH DIAERESIS}cher.example.com/v1"  # xn--bcher-kva
    yield from _TABLE["urls"]
