"""What a native stack is made from: wishes, services, launchers."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.local.errors import StackError
from infra.local.home import CHECKOUT, Home
from infra.local.known_settings import check_settings
from infra.local.parts import Part
from infra.local.ports import ports
from infra.local.processes import processes
from infra.local.services import service_parts
from infra.local.stack import Stack
from infra.local.wishes import Wishes, forget, recall, remember, unknown
from shared.kernel.names import SERVICES

pytestmark = pytest.mark.unit

_BASE_URL = "LATCHKEY_PROVIDERS__OPENAI__BASE_URL"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "a home's 100%")
    made.make()
    return made


def test_wishes_last_until_they_are_forgotten(home: Home) -> None:
    wishes = recall(home).and_also(
        inference=2, simulator=None, environ={_BASE_URL: "http://x/v1", "PATH": "/bin"}
    )
    remember(home, wishes)
    again = recall(home).and_also(inference=None, simulator=None, environ={})
    assert again == Wishes(inference=2, overrides={_BASE_URL: "http://x/v1"})
    assert recall(home).and_also(inference=None, simulator=None, environ={_BASE_URL: ""}).overrides == {}
    forget(home)
    assert recall(home) == Wishes()


@pytest.mark.parametrize("asked", ["0", "-1", "two", ""])
def test_a_stack_has_one_worker_at_least(asked: str) -> None:
    words = (sys.executable, "-m", "infra.local", "up", f"--inference={asked}")
    tried = subprocess.run(words, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert tried.returncode == 2
    assert "is no number of workers: 1 or more" in tried.stderr


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        (
            {"LATCHKEY_HTTP__PORT": "99999"},
            "LATCHKEY_HTTP__PORT: Input should be less than or equal",
        ),
        ({"LATCHKEY_AUTH_MODE": "closed"}, "LATCHKEY_AUTH_MODE: Input should be 'users' or 'open'"),
        ({"LATCHKEY_LOG_LEVEL": "verbose"}, "LATCHKEY_LOG_LEVEL: Input should be 'DEBUG', 'INFO', "),
        ({"LATCHKEY_AUTH__JWKS_URL": "nonsense"}, "LATCHKEY_AUTH__JWKS_URL: does not begin with http://"),
        ({"LATCHKEY_METRICS__PORT": "65534"}, "LATCHKEY_METRICS__PORT: Input should be less than or equal"),
        ({"LATCHKEY_RUN_TIMEOUT_S": "inf"}, "LATCHKEY_RUN_TIMEOUT_S: Input should be a finite number"),
        ({"LATCHKEY_AUTH__JWT_SECRET": "short"}, "LATCHKEY_AUTH: the JWT secret has less than 32 characters"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_is_begun(
    home: Home, environ: dict[str, str], told: str
) -> None:
    with pytest.raises(StackError, match=f"^settings: {told}"):
        Stack(home.path, lambda _: None).up(environ)
    assert recall(home) == Wishes()
    assert not (home / "ports.json").exists()


def test_a_secret_beside_a_jwks_url_is_not_kept() -> None:
    asked = {"LATCHKEY_AUTH__JWT_SECRET": "x" * 40}
    assert Wishes().jwt_secret(asked) == "x" * 40
    assert Wishes().jwt_secret({"LATCHKEY_AUTH__JWT_SECRET": ""}) is None
    assert Wishes(overrides={"LATCHKEY_AUTH__JWKS_URL": "https://id.example/jwks"}).jwt_secret(asked) is None


def test_a_wrong_setting_from_before_says_how_it_is_taken_back(home: Home) -> None:
    remember(home, Wishes(overrides={"LATCHKEY_MARKUP": "x"}))
    with pytest.raises(StackError, match=r"given before: LATCHKEY_MARKUP \(set to nothing"):
        Stack(home.path, lambda _: None).up({})


def test_a_setting_taken_back_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATCHKEY_TRACES__ENDPOINT", "")
    check_settings(Wishes().and_also(inference=None, simulator=None, environ=os.environ).overrides)


def test_what_dev_env_says_is_no_wish() -> None:
    environ = {"LATCHKEY_AMQP_URL": "amqp://admin", "LATCHKEY_HOME": "/x", "LATCHKEY_URL": "http://x"}
    assert Wishes().and_also(inference=None, simulator=None, environ=environ) == Wishes()


def test_a_secret_or_what_no_service_knows_is_no_wish() -> None:
    environ = {
        "LATCHKEY_MARKPU": "2",
        "LATCHKEY_BOBS_TOKEN": "lk_secret",
        "LATCHKEY_AUTH__JWT_SECRET": "x" * 40,
        "LATCHKEY_ADMIN_TOKEN": "lk_secret",
        "LATCHKEY_MARKUP": "2",
    }
    wishes = Wishes(overrides={"LATCHKEY_OLD": "x"}).and_also(inference=None, simulator=None, environ=environ)
    assert wishes.overrides == {"LATCHKEY_MARKUP": "2"}
    assert unknown(environ) == ["LATCHKEY_BOBS_TOKEN", "LATCHKEY_MARKPU"]


def test_every_documented_setting_is_one() -> None:
    table = (CHECKOUT / "docs" / "settings.md").read_text()
    native = "\n".join(line for line in table.splitlines() if "| compose:" not in line)
    said = re.findall(r"`(LATCHKEY_[A-Z_]+)`", native)
    assert len(said) > 20
    assert unknown(dict.fromkeys(said, "")) == []


def test_an_override_reaches_the_service_that_reads_it() -> None:
    wishes = Wishes(overrides={_BASE_URL: "http://x/v1", "LATCHKEY_LOG_LEVEL": "DEBUG"})
    assert wishes.settings_for("inference", simulator_url="") == wishes.overrides
    assert wishes.settings_for("billing", simulator_url="") == {"LATCHKEY_LOG_LEVEL": "DEBUG"}


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("LATCHKEY_AUTH_MODE", "api_edge"),
        ("LATCHKEY_AUTH__ISSUER", "api_edge"),
        ("LATCHKEY_SESSION_KEY_TTL_S", "key_vault"),
    ],
)
def test_a_setting_of_one_service_reaches_no_other(name: str, reader: str) -> None:
    wishes = Wishes(overrides={name: "x"})
    assert [who for who in SERVICES if wishes.settings_for(who, simulator_url="")] == [reader]


def test_the_simulator_stands_for_every_provider_but_an_overridden_one() -> None:
    settings = Wishes(simulator=True, overrides={_BASE_URL: "http://x/v1"}).settings_for(
        "inference", simulator_url="http://127.0.0.1:9"
    )
    assert settings[_BASE_URL] == "http://x/v1"
    assert settings["LATCHKEY_PROVIDERS__GATEWAY__BASE_URL"] == "http://127.0.0.1:9/v1"
    assert len(settings) == 7


def test_workers_are_numbered_from_the_second(home: Home) -> None:
    chosen = ports(home, running=False)
    names = [part.name for part in service_parts(home, chosen, Wishes(inference=3))]
    assert names == ["api_edge", "key_vault", "inference", "inference-2", "inference-3", "billing"]


def test_each_part_serves_its_metrics_at_a_port_of_its_own(home: Home) -> None:
    wishes = Wishes(inference=2, overrides={"LATCHKEY_METRICS__PORT": "9464"})
    parts = service_parts(home, ports(home, running=False), wishes)
    assert {part.name: part.env["LATCHKEY_METRICS__PORT"] for part in parts} == {
        "api_edge": "9464",
        "key_vault": "9465",
        "inference": "9466",
        "inference-2": "9467",
        "billing": "9468",
    }


def test_keys_of_ones_own_identity_provider_take_the_generated_secrets_place(home: Home) -> None:
    def env(wishes: Wishes) -> Mapping[str, str]:
        return service_parts(home, ports(home, running=False), wishes)[0].env

    jwks = {"LATCHKEY_AUTH__JWKS_URL": "https://id.example/jwks"}
    assert "LATCHKEY_AUTH__JWT_SECRET" not in env(Wishes())
    assert env(Wishes(overrides=jwks)).items() >= {**jwks, "LATCHKEY_AUTH__JWT_SECRET": ""}.items()


def test_a_launcher_becomes_its_part(home: Home) -> None:
    part = Part("hello", ("sh", "-c", 'echo "$WORD $$"'), {"WORD": "a'b %c"}, before="echo first\n")
    entry = part.write_launcher(home)
    command = next(line for line in entry.splitlines() if line.startswith("command="))
    subprocess.run(shlex.split(command.removeprefix("command=").replace("%%", "%")), check=True)
    pid = home.pid_file("hello").read_text().strip()
    assert home.log("hello").read_text() == f"first\na'b %c {pid}\n"


def test_a_change_of_what_a_part_reads_changes_its_entry(home: Home, tmp_path: Path) -> None:
    file = tmp_path / "x.env"
    part = Part("p", ("true",), reads=(file,))
    before = part.write_launcher(home)
    assert part.write_launcher(home) == before
    file.write_text("A=1")
    assert part.write_launcher(home) != before


def test_a_service_depends_on_its_own_code_and_what_all_share(home: Home) -> None:
    parts = service_parts(home, ports(home, running=False), Wishes())
    reads = {part.name: {str(path.relative_to(CHECKOUT)) for path in part.reads[1:]} for part in parts}
    assert reads["billing"] >= {"uv.lock", "services/billing/app.py", "shared/runtime/bus.py"}
    assert not [path for path in reads["billing"] if "/api_edge/" in path or path.endswith(".pyc")]


def test_one_command_at_a_time(home: Home) -> None:
    with home.locked(), pytest.raises(StackError, match="another command"), home.locked():
        pass


def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path) -> None:
    long = Home(tmp_path / ("x" * 120))
    assert len(str(long.socket)) < 104
    assert long.socket != Home(tmp_path / ("y" * 120)).socket
    assert Home(Path("/a")).socket == Path("/a/run/supervisor.sock")


def test_processes_are_told_by_their_marker(home: Home) -> None:
    part = Part("sleeper", ("sleep", "60"))
    part.write_launcher(home)
    with subprocess.Popen(["/bin/sh", str(home / "conf/sleeper.sh")]) as process:
        try:
            while not any(one.part == "sleeper" for one in processes(home)):
                assert process.poll() is None
            assert processes(Home(home / "nested")) == []
        finally:
            process.kill()
