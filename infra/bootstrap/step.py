"""The bootstrap itself: the three servers at once, then one env file per service."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from secrets import token_urlsafe
from typing import Any

from infra.bootstrap import postgres, rabbitmq, vault
from infra.bootstrap.addresses import check_addresses
from infra.bootstrap.envfiles import read_env, write_env, write_private
from infra.bootstrap.realm import BootstrapError, Realm, Servers, password_in, url_for
from shared.kernel.names import API_EDGE, KEY_VAULT, SERVICES

ADMIN_FILE = "admin.env"
_AMQP, _ANALYST, _POSTGRES = "LATCHKEY_AMQP_URL", "LATCHKEY_ANALYST_AMQP_URL", "LATCHKEY_POSTGRES_URL"
_ROLE_ID, _SECRET_ID = "LATCHKEY_VAULT_ROLE_ID", "LATCHKEY_VAULT_SECRET_ID"
_NAMESPACE = "LATCHKEY_VAULT_NAMESPACE"
JWT_SECRET = "LATCHKEY_AUTH__JWT_SECRET"  # noqa: S105
_VAULT_USERS = (API_EDGE, KEY_VAULT)
_SILENCE_S = 10.0

Env = dict[str, str]


def _silent(_line: str) -> None: ...


def bootstrap(
    servers: Servers,
    realm: Realm,
    out: Path,
    *,
    timeout_s: float = 60,
    progress: Callable[[str], None] = _silent,
) -> None:
    """Make `realm` in the servers and write `<out>/<service>.env` and `<out>/admin.env` (mode 600).

    Safe to repeat: what is there stays, and the logins found in `out` are kept. Waits up to `timeout_s` for
    each server. Raises BootstrapError naming every part that is missing or refuses.
    """
    check_addresses(servers)
    _check_writable(out)
    known = {name: read_env(out / f"{name}.env") for name in (*SERVICES, "admin")}
    _check_namespace(servers, known[KEY_VAULT])
    with ThreadPoolExecutor(3, thread_name_prefix="bootstrap") as pool:
        bus = pool.submit(
            rabbitmq.prepare, servers, realm, _bus_passwords(known), timeout_s=timeout_s, progress=progress
        )
        logins = pool.submit(
            vault.prepare, servers, realm, _secret_ids(known), timeout_s=timeout_s, progress=progress
        )
        roles = pool.submit(postgres.prepare, servers, realm, _db_passwords(known), timeout_s=timeout_s)
        tell_of_waiting({"rabbitmq": bus, "vault": logins, "postgres": roles}, progress)
    _raise_all(bus, logins, roles)
    for service in SERVICES:
        env = _service_env(servers, realm, service, bus.result(), roles.result())
        env |= _vault_env(servers, logins.result()[service]) if service in _VAULT_USERS else {}
        env |= _auth_env(realm, known[API_EDGE]) if service == API_EDGE else {}
        write_env(out / f"{service}.env", env)
    write_env(out / ADMIN_FILE, _admin_env(servers, realm, bus.result()))


def tell_of_waiting(
    parts: Mapping[str, Future[Any]], progress: Callable[[str], None], *, silence_s: float = _SILENCE_S
) -> None:
    """Return when all are done; until then tell every `silence_s` which are not."""
    while not_done := wait(parts.values(), timeout=silence_s).not_done:
        progress(f"waiting for {', '.join(name for name, part in parts.items() if part in not_done)}")


def _check_namespace(servers: Servers, known: Env) -> None:
    """Users' keys are decrypted where they were encrypted."""
    had, asked = known.get(_NAMESPACE), servers.vault_namespace
    if _ROLE_ID in known and had != asked:
        raise BootstrapError(
            f"the Vault namespace was {had or 'the root'}, VAULT_NAMESPACE says {asked or 'none'}"
        )


def _check_writable(out: Path) -> None:
    """Before anything is changed: logins that are written nowhere would be lost."""
    trial = out / ".trial"
    try:
        write_private(trial, "")
        trial.unlink()
    except OSError as error:
        raise BootstrapError(f"{out} cannot be written: {error.strerror}") from error


def drop_realm(servers: Servers, realm: Realm) -> None:
    """Remove all of a realm from the servers. What is not there is no error."""
    with ThreadPoolExecutor(3, thread_name_prefix="drop") as pool:
        done = [pool.submit(part.drop, servers, realm) for part in (rabbitmq, vault, postgres)]
    _raise_all(*done)


def _raise_all(*done: Future[Any]) -> None:
    errors = [error for future in done if (error := future.exception())]
    if not errors:
        return
    if unexpected := [error for error in errors if not isinstance(error, BootstrapError)]:
        raise unexpected[0]
    raise BootstrapError("; ".join(str(error) for error in errors)) from errors[0]


def _bus_passwords(known: Mapping[str, Env]) -> Env:
    urls = {service: known[service].get(_AMQP) for service in SERVICES}
    urls |= {rabbitmq.ADMIN: known["admin"].get(_AMQP), rabbitmq.ANALYST: known["admin"].get(_ANALYST)}
    return {who: password for who, url in urls.items() if (password := password_in(url))}


def _db_passwords(known: Mapping[str, Env]) -> Env:
    urls = {service: known[service].get(_POSTGRES) for service in SERVICES}
    return {service: password for service, url in urls.items() if (password := password_in(url))}


def _secret_ids(known: Mapping[str, Env]) -> Env:
    return {service: env[_SECRET_ID] for service, env in known.items() if _SECRET_ID in env}


def _service_env(servers: Servers, realm: Realm, service: str, bus: Env, roles: Env) -> Env:
    login = realm.login(service)
    return {
        "LATCHKEY_REALM": realm.name,
        "LATCHKEY_LOG_LEVEL": "INFO",
        _AMQP: url_for(servers.amqp_url, user=login, password=bus[service], path=realm.name),
        _POSTGRES: url_for(servers.postgres_url, user=login, password=roles[service], path=realm.name),
    }


def _vault_env(servers: Servers, login: tuple[str, str]) -> Env:
    namespace = servers.vault_namespace
    return {
        "LATCHKEY_VAULT_ADDR": servers.vault_addr,
        **({_NAMESPACE: namespace} if namespace else {}),
        _ROLE_ID: login[0],
        _SECRET_ID: login[1],
    }


def _auth_env(realm: Realm, known: Env) -> Env:
    return {
        JWT_SECRET: realm.jwt_secret or known.get(JWT_SECRET) or token_urlsafe(48),
        "LATCHKEY_AUTH__ISSUER": realm.name,
        "LATCHKEY_AUTH__AUDIENCE": realm.name,
    }


def _admin_env(servers: Servers, realm: Realm, bus: Env) -> Env:
    admin, analyst = realm.login(rabbitmq.ADMIN), realm.login(rabbitmq.ANALYST)
    login = {"user": admin, "password": bus[rabbitmq.ADMIN]}
    management = url_for(rabbitmq.management_address(servers), **login, path="").rstrip("/")
    return {
        "LATCHKEY_REALM": realm.name,
        _AMQP: url_for(servers.amqp_url, **login, path=realm.name),
        _ANALYST: url_for(servers.amqp_url, user=analyst, password=bus[rabbitmq.ANALYST], path=realm.name),
        _POSTGRES: postgres.database_url(servers, realm),
        "VAULT_ADDR": servers.vault_addr,
        **({"VAULT_NAMESPACE": servers.vault_namespace} if servers.vault_namespace else {}),
        "VAULT_TOKEN": servers.vault_token,
        "RABBITMQ_MANAGEMENT_URL": management,
    }
