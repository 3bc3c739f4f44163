"""What goes into the bootstrap: names, URLs, env files, platform keys, migrations."""

import re
import ssl
from concurrent.futures import Future
from pathlib import Path

import pytest

from infra.bootstrap import BootstrapError, Realm
from infra.bootstrap.envfiles import read_env, write_env
from infra.bootstrap.http import verifying
from infra.bootstrap.migrations import SERVICES_FOLDER, Migration, migrations_in
from infra.bootstrap.platform_keys import gateway_url_from, platform_keys_from
from infra.bootstrap.rabbitmq import definitions
from infra.bootstrap.realm import password_in, url_for
from infra.bootstrap.step import tell_of_waiting
from infra.bootstrap.vault import policy
from shared.contracts.topology import RPC_QUEUES
from shared.kernel.names import SERVICES

pytestmark = pytest.mark.unit


@pytest.mark.parametrize("name", ["", "Latchkey", "a-b", "1a", "a b", "a;drop"])
def test_a_realm_is_one_plain_word(name: str) -> None:
    with pytest.raises(ValueError, match="realm"):
        Realm(name)


def test_a_realm_does_not_show_its_keys() -> None:
    assert "sk-secret" not in repr(Realm("latchkey", {"openai": ("sk-secret",)}))


def test_a_url_for_another_login_keeps_host_and_options() -> None:
    url = url_for(
        "postgresql://root:x@db:5432/postgres?sslmode=require", user="a", password="p/@:", path="realm"
    )
    assert url == "postgresql://a:p%2F%40%3A@db:5432/realm?sslmode=require"
    assert password_in(url) == "p/@:"


def test_what_is_waited_for_is_told() -> None:
    there: Future[None] = Future()
    away: Future[None] = Future()
    there.set_result(None)
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        away.set_exception(BootstrapError("away"))

    tell_of_waiting({"postgres": there, "vault": away}, tell, silence_s=0.01)
    assert told == ["waiting for vault"]


def test_an_env_file_is_private_and_reads_back(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "x.env"
    values = {"PLAIN": "amqp://u:p@h:1/v", "ODD": "a b'c\"$d=e#f", "EMPTY": ""}
    write_env(file, values)
    assert read_env(file) == values
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["x.env"]


def test_platform_keys_come_single_and_in_pools() -> None:
    found = platform_keys_from(
        {"OPENAI_API_KEY": "a", "GROQ_API_KEYS": '["b", "c"]', "GROQ_API_KEY": "b", "XAI_API_KEY": " "}
    )
    assert found == {"openai": ("a",), "groq": ("b", "c")}


def test_openrouters_keys_are_a_pool_with_the_single_one_last() -> None:
    environ = {"OPENROUTER_API_KEY": "sk-or-3", "OPENROUTER_API_KEYS": '["sk-or-1", "sk-or-2"]'}
    assert platform_keys_from(environ) == {"openrouter": ("sk-or-1", "sk-or-2", "sk-or-3")}


@pytest.mark.parametrize(
    ("environ", "keys"),
    [
        ({"AI_GATEWAY_API_KEY": "team"}, ("team",)),
        ({"GATEWAY_API_KEY": "team"}, ("team",)),
        ({"AI_GATEWAY_API_KEYS": '["a", "b"]', "GATEWAY_API_KEY": "c"}, ("a", "b", "c")),
        ({"AI_GATEWAY_API_KEY": "a", "GATEWAY_API_KEY": "a"}, ("a",)),
    ],
)
def test_the_team_gateway_has_two_names(environ: dict[str, str], keys: tuple[str, ...]) -> None:
    assert platform_keys_from(environ) == {"gateway": keys}


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://gateway.example.com/v1 ", "https://gateway.example.com/v1"),
        ("http://127.0.0.1:9400/v1", "http://127.0.0.1:9400/v1"),
        ("", None),
    ],
)
def test_the_team_gateways_address(text: str, url: str | None) -> None:
    assert gateway_url_from({"AI_GATEWAY_URL": text}) == url


@pytest.mark.parametrize(
    "text",
    ["gateway.example.com", "ftp://x/v1", "https://u:secret@x/v1", "https://x/v1?key=secret", "https://["],
)
def test_what_is_no_address_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(BootstrapError, match="AI_GATEWAY_URL") as refused:
        gateway_url_from({"AI_GATEWAY_URL": text})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["sk-plain", '{"a": 1}', "[1]"])
def test_a_pool_that_is_no_array_is_refused_without_telling_it(text: str) -> None:
    with pytest.raises(BootstrapError, match="OPENAI_API_KEYS") as refused:
        platform_keys_from({"OPENAI_API_KEYS": text})
    assert "sk-plain" not in str(refused.value)


def test_the_role_is_written_into_sql_but_casts_are_left() -> None:
    migration = Migration("0001_x", "GRANT SELECT ON t TO :service_role; SELECT a::service_role, ':x'")
    assert (
        migration.for_role("r_billing") == "GRANT SELECT ON t TO \"r_billing\"; SELECT a::service_role, ':x'"
    )


def test_migrations_are_in_order_and_well_named(tmp_path: Path) -> None:
    for name in ("0002_b.sql", "0001_a.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert [migration.version for migration in migrations_in(tmp_path)] == ["0001_a", "0002_b"]
    (tmp_path / "3_c.sql").write_text("SELECT 1")
    with pytest.raises(BootstrapError, match=r"3_c\.sql"):
        migrations_in(tmp_path)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_has_migrations_and_a_policy(service: str) -> None:
    assert migrations_in(SERVICES_FOLDER / service / "migrations")
    text = policy(Realm("r1"), service)
    assert "{realm}" not in text
    granted = {word for line in re.findall(r"capabilities = \[(.*)\]", text) for word in line.split(", ")}
    assert granted <= {'"read"', '"list"', '"update"'}


def test_what_a_cluster_holds_outlives_a_node() -> None:
    alone, together = ({q["name"]: q["arguments"] for q in definitions(n)["queues"]} for n in (1, 3))
    assert {name for name in alone if alone[name] != together[name]} == set(RPC_QUEUES)
    assert "classic" not in {arguments["x-queue-type"] for arguments in together.values()}


def test_an_address_with_tls_is_verified_however_it_is_written() -> None:
    assert isinstance(verifying("HTTPS://127.0.0.1"), ssl.SSLContext)
    assert verifying("http://127.0.0.1") is False
