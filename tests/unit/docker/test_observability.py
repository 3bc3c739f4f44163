"""The dashboard shows what services count, and Prometheus reads where they serve it."""

import json
import re
from pathlib import Path
from typing import Any, Final

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


@pytest.fixture
def panels() -> list[dict[str, Any]]:
    dashboard = json.loads((HERE / "grafana" / "dashboards" / "latchkey.json").read_text())
    found: list[dict[str, Any]] = dashboard["panels"]
    return found


def test_every_panel_shows_something_that_is_counted(panels: list[dict[str, Any]]) -> None:
    shown = {_PARTS.sub("", name) for panel in panels for name in _NAME.findall(json.dumps(panel["targets"]))}
    assert len(panels) > 10
    assert shown <= _counted()
    assert _counted() - shown <= {"latchkey_usage_events"}


def test_alerts_watch_what_is_counted_and_lead_into_the_runbook() -> None:
    rules = (HERE / "alerts.yml").read_text()
    sections = re.findall(r'runbook: "(.+)"', rules)
    assert len(sections) == rules.count("- alert: ") > 5
    assert {_PARTS.sub("", name) for name in _NAME.findall(rules)} <= _counted()
    runbook = (ROOT / "docs" / "operations.md").read_text()
    for told in sections:
        section, _, paragraphs = told.partition(": ")
        assert re.search(rf"^#+ {section}$", runbook, re.MULTILINE), section
        assert all(f"\n**{title}" in runbook for title in paragraphs.split(", ") if title), told
    assert "rule_files: [alerts.yml]" in (HERE / "prometheus.yml").read_text()
    assert "./infra/observability/alerts.yml:" in (ROOT / "docker-compose.yml").read_text()


def test_only_requests_are_told_as_requests_a_second(panels: list[dict[str, Any]]) -> None:
    told = [panel for panel in panels if panel["fieldConfig"]["defaults"]["unit"] == "reqps"]
    assert [panel["title"] for panel in told] == ["HTTP requests a second, by status"]


def test_each_process_has_its_services_name(panels: list[dict[str, Any]]) -> None:
    scraped = (HERE / "prometheus.yml").read_text()
    assert "source_labels: [__meta_dns_name]\n        target_label: service\n" in scraped
    legends = [t["legendFormat"] for p in panels for t in p["targets"] if "{{instance}}" in t["legendFormat"]]
    assert legends == ["{{service}} {{instance}}"] * 2


def test_spans_find_their_way_from_a_service_to_grafana() -> None:
    collector, tempo = (HERE / "collector.yml").read_text(), (HERE / "tempo.yml").read_text()
    source = (HERE / "grafana" / "provisioning" / "datasources" / "tempo.yml").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    runbook = (ROOT / "docs" / "operations.md").read_text()
    assert "LATCHKEY_TRACES__ENDPOINT=http://collector:4318" in runbook
    assert 'endpoint: "0.0.0.0:4318"' in collector
    assert 'endpoint: "http://tempo:4318"' in collector
    assert 'endpoint: "0.0.0.0:4318"' in tempo
    assert "http_listen_port: 3200" in tempo
    assert 'url: "http://tempo:3200"' in source
    assert compose.count("- LATCHKEY_TRACES__ENDPOINT\n") == len(SERVICES)
    for part in ("collector", "tempo"):
        assert f"\n  {part}:\n" in compose
        assert f"./infra/observability/{part}.yml:" in compose


def test_prometheus_reads_where_the_services_serve() -> None:
    scraped = (HERE / "prometheus.yml").read_text()
    compose = (ROOT / "docker-compose.yml").read_text()
    port = re.search(r"port: (\d+)", scraped)
    assert port is not None
    assert compose.count(f"LATCHKEY_METRICS__PORT={port[1]}") == len(SERVICES)
    assert all(service in scraped for service in SERVICES)
