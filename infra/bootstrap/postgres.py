"""Postgres: a database per realm; per service a schema, a role that sees only it, and its migrations."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import asyncpg

from infra.bootstrap.http import check_trusted
from infra.bootstrap.migrations import migrate
from infra.bootstrap.realm import BootstrapError, Realm, Servers, url_for
from infra.bootstrap.scram import scram_verifier
from shared.kernel.names import API_EDGE, SERVICES

Connection: TypeAlias = "asyncpg.Connection[Any]"

_LOCK = 0x1A7C4  # advisory: one bootstrap at a time
_POLL_S = 0.1
_VACUUMED_S = 10.0


def schema_of(service: str) -> str:
    return "edge" if service == API_EDGE else service


def prepare(servers: Servers, realm: Realm, known: Mapping[str, str], *, timeout_s: float) -> dict[str, str]:
    """Make the realm's database up to its latest migration; return each role's password.

    `known` holds the passwords of an earlier run, which are kept. Raises BootstrapError when Postgres is away
    or refuses.
    """
    passwords = {service: known.get(service) or secrets.token_urlsafe(24) for service in SERVICES}
    try:
        asyncio.run(_prepare(servers, realm, passwords, timeout_s))
    except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        raise BootstrapError(f"postgres refuses: {error}") from error
    return passwords


def drop(servers: Servers, realm: Realm) -> None:
    """Remove the database, also under open connections, and the roles."""
    asyncio.run(_drop(servers, realm))


def connect(url: str) -> AbstractAsyncContextManager[Connection]:
    return _connect(url)


@asynccontextmanager
async def _connect(url: str) -> Any:
    connection = await asyncpg.connect(url, timeout=10)
    try:
        yield connection
    finally:
        await connection.close()


async def _prepare(servers: Servers, realm: Realm, passwords: Mapping[str, str], timeout_s: float) -> None:
    await _wait(servers.postgres_url, timeout_s)
    async with connect(servers.postgres_url) as admin, _locked(admin):
        await _create_database(admin, realm)
        for service, password in passwords.items():
            await _create_role(admin, realm.login(service), password)
        async with connect(database_url(servers, realm)) as database:
            for service in SERVICES:
                await _create_schema(database, realm, service)
                await migrate(database, service, schema_of(service), role=realm.login(service))


async def _wait(url: str, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            async with connect(url):
                return
        except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
            check_trusted("postgres", error)
            if time.monotonic() > deadline:
                raise BootstrapError(f"postgres is not ready after {timeout_s:.0f} s: {error}") from error
            await asyncio.sleep(_POLL_S)


@asynccontextmanager
async def _locked(admin: Connection) -> Any:
    await admin.execute(f"SELECT pg_advisory_lock({_LOCK})")
    try:
        yield
    finally:
        await admin.execute(f"SELECT pg_advisory_unlock({_LOCK})")


def database_url(servers: Servers, realm: Realm) -> str:
    """Return the administrator's URL of the realm's database."""
    login = urlsplit(servers.postgres_url)
    return url_for(
        servers.postgres_url,
        user=unquote(login.username or "postgres"),
        password=unquote(login.password or ""),
        path=realm.name,
    )


async def _create_database(admin: Connection, realm: Realm) -> None:
    if not await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", realm.name):
        await admin.execute(f'CREATE DATABASE "{realm.name}" TEMPLATE template0')
    await admin.execute(f'REVOKE ALL ON DATABASE "{realm.name}" FROM PUBLIC')


async def _create_role(admin: Connection, role: str, password: str) -> None:
    if not await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", role):
        await admin.execute(f'CREATE ROLE "{role}"')
    await admin.execute(f"ALTER ROLE \"{role}\" LOGIN PASSWORD '{scram_verifier(password)}'")


async def _create_schema(database: Connection, realm: Realm, service: str) -> None:
    schema, role = schema_of(service), realm.login(service)
    await database.execute(f"""
        CREATE SCHEMA IF NOT EXISTS "{schema}";
        GRANT CONNECT ON DATABASE "{realm.name}" TO "{role}";
        GRANT USAGE ON SCHEMA "{schema}" TO "{role}";
        ALTER ROLE "{role}" IN DATABASE "{realm.name}" SET search_path = "{schema}";
    """)


async def _drop_database(admin: Connection, realm: Realm) -> None:
    """With whoever is connected to it. Only a superuser may end an autovacuum worker: that ends soon."""
    async with asyncio.timeout(_VACUUMED_S):
        while True:
            try:
                await admin.execute(f'DROP DATABASE IF EXISTS "{realm.name}" WITH (FORCE)')
            except asyncpg.InsufficientPrivilegeError as error:
                if "terminate" not in str(error):
                    raise
                await asyncio.sleep(_POLL_S)
            else:
                return


async def _drop(servers: Servers, realm: Realm) -> None:
    async with connect(servers.postgres_url) as admin, _locked(admin):
        await _drop_database(admin, realm)
        for service in SERVICES:
            await admin.execute(f'DROP ROLE IF EXISTS "{realm.login(service)}"')
