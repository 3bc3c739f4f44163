"""The dashboard shows what services count, and Prometheus reads where they serve it."""

import json
import re
from pathlib import Path
from typing import Final

import pytest

from shared.kernel.names import SERVICES

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).parents[3]
HERE: Final = ROOT / "infra" / "observability"
_NAME: Final = re.compile(r"\blatchkey_[a-z_]+\b")
_PARTS: Final = re.compile(r"_(total|bucket|count|sum)$")


def _counted() -> set[str]:
    sources = [
        path.read_text() for folder in ("services", "shared") for path in (ROOT / folder).rglob("*.py")
    ]
    return set(re.findall(r'"(latchkey_[a-z_]+)"', "\n".join(sources)))


def test_every_panel_shows_something_that_is_counted() -> None:
    panels = json.loads((HERE / "grafana" / "dashboards" / "latchkey.json").read_text())["panels"]
    shown = {_PARTS.sub("", name) for panel in panels for name in _NAME.findall(json.dumps(panel["targets"]))}
    assert len(panels) > 10
    assert shown <= _counted()
    assert _counted() - shown <= {"latchkey_usage_events", "latchkey_holds_expired", "latchkey_tokens"}


def test_prometheus_reads_where_the_services_serve() -> None:
    scraped = (HERE / "prometheus.yml").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    port = re.search(r"port: (\d+)", scraped)
    assert port is not None
    assert compose.count(f"LATCHKEY_METRICS__PORT={port[1]}") == len(SERVICES)
    assert all(service in scraped for service in SERVICES)
