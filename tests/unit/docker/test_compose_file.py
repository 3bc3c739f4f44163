"""What must stay true of docker-compose.yml, whoever edits it."""

import re
from pathlib import Path
from typing import Final

import pytest

from shared.kernel.names import KeyService

pytestmark = pytest.mark.unit

COMPOSE: Final = (Path(__file__).parents[3] / "docker-compose.yml").read_text()


def test_only_the_edge_is_open_to_the_world() -> None:
    lines = [line for line in COMPOSE.splitlines() if "ports:" in line or '- "127' in line]
    published = re.findall(r'"([^"]*):(\d+)"', "\n".join(lines))
    open_ports = [port for host, port in published if not host.startswith("127.0.0.1:")]
    assert len(published) == 6
    assert open_ports == ["8080"]


@pytest.mark.parametrize("service", KeyService)
def test_every_provider_passes_through(service: KeyService) -> None:
    name = service.upper()
    for variable in (f"{name}_API_KEY", f"{name}_API_KEYS", f"LATCHKEY_PROVIDERS__{name}__BASE_URL"):
        assert re.search(rf"^ +- {variable}$", COMPOSE, re.MULTILINE), variable


@pytest.mark.parametrize("variable", ["AI_GATEWAY_API_KEY", "AI_GATEWAY_API_KEYS", "AI_GATEWAY_URL"])
def test_the_team_gateway_passes_through(variable: str) -> None:
    assert re.search(rf"^ +- {variable}$", COMPOSE, re.MULTILINE)


def test_operators_commands_reach_the_edge() -> None:
    ops = COMPOSE.partition("\n  ops:\n")[2].partition("\nnetworks:")[0]
    assert 'LATCHKEY_URL: "http://api_edge:8080"' in ops
    assert "networks: [inside]" in ops


def test_operators_commands_need_no_image_of_their_own() -> None:
    """Their answer is often taken into a variable, and a first build's output would come with it."""
    ops = COMPOSE.partition("\n  ops:\n")[2].partition("\n\n")[0]
    assert "image: ${COMPOSE_PROJECT_NAME}-bootstrap" in ops
    assert "*tools-image" not in ops


def test_it_holds_no_secret() -> None:
    assert not re.search(r"(?i)(password|secret|token|key)s?[ :=]+[\"']?[A-Za-z0-9_-]{16,}", COMPOSE)
