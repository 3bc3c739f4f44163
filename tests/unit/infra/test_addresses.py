"""What cannot be a server's address is said at once, and without the password in it."""

from dataclasses import replace
from pathlib import Path

import pytest

from infra.bootstrap import BootstrapError, Servers
from infra.bootstrap.addresses import check_addresses

pytestmark = pytest.mark.unit

_NO_FILE = "/no/such.pem"
_SERVERS = Servers(
    amqp_url="amqps://operator:p%40ss@rabbitmq.example.com:5671/",
    management_url="https://rabbitmq.example.com:15671",
    vault_addr="HTTPS://vault.example.com:8200",
    vault_token="s.token",
    postgres_url="postgresql://operator:p%2Fss@postgres.example.com/postgres?sslmode=verify-full",
)


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"amqp_url": "amqp://[::1]:5672", "postgres_url": "postgres://a:b@[::1]:5432/x"},
        {"amqp_url": "amqp://operator:hunter2@x@rabbitmq/"},
        {"vault_addr": "https://vault/@team"},
        {"postgres_url": "postgresql://?host=h&password=a@b"},
        {"amqp_url": "AMQPS://rabbitmq/%2F?cafile=/a@b.pem"},
        {"postgres_url": "postgresql:///postgres?host=/run/postgresql&user=a@b"},
        {"postgres_url": "postgresql://operator:pass@/postgres"},
        {"postgres_url": "postgresql://a:b@one:5432,two:5433/x?target_session_attrs=primary"},
        {"postgres_url": "postgresql://db/x?sslmode=prefer&sslrootcert=/no/such.pem"},
    ],
)
def test_addresses_are_taken(changed: dict[str, str]) -> None:
    check_addresses(replace(_SERVERS, **changed))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (
            {"amqp_url": "rabbitmq.example.com:5672"},
            "RabbitMQ's address does not begin with amqp:// or amqps",
        ),
        ({"amqp_url": "amqp://operator:pass@:5672/"}, "RabbitMQ's address names no host"),
        ({"amqp_url": "amqp://one:1,two:x/"}, "RabbitMQ's address cannot be read: its host or port"),
        ({"management_url": "rabbitmq:15672"}, "RabbitMQ's management does not begin with http:// or https"),
        ({"vault_addr": "vault:8200"}, "Vault's address does not begin"),
        ({"vault_addr": "https://vault:82000"}, "Vault's address cannot be read: its host or port"),
        ({"postgres_url": "mysql://db/x"}, "Postgres' address does not begin with postgresql:// or postgres"),
        (
            {"postgres_url": f"postgresql://db/x?sslmode=verify-full&sslrootcert={_NO_FILE}"},
            f"no file {_NO_FILE}",
        ),
    ],
)
def test_what_is_no_address_is_named(changed: dict[str, str], told: str) -> None:
    with pytest.raises(BootstrapError, match=told):
        check_addresses(replace(_SERVERS, **changed))


@pytest.mark.parametrize(
    "password",
    [
        "hunter2/x",
        "hunter2?x",
        "12?hunter",
        "12/34?hunter",
        "hunter2#x",
        "hunter2[x",
        "hunter2\\x",
        "hun:ter2/x@y",
        "hunter2@x/y",
    ],
)
def test_a_password_that_is_not_escaped_is_told_of_and_not_shown(password: str) -> None:
    with pytest.raises(BootstrapError, match="in a password, write") as told:
        check_addresses(replace(_SERVERS, amqp_url=f"amqp://operator:{password}@rabbitmq:5672/"))
    assert "hun" not in str(told.value)
    assert told.value.__suppress_context__


def test_a_file_of_postgres_is_looked_for(tmp_path: Path) -> None:
    file = tmp_path / "authority.pem"
    file.touch()
    url = f"postgresql://db/x?sslmode=require&sslrootcert={file}"
    check_addresses(replace(_SERVERS, postgres_url=url))
