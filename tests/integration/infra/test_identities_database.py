"""What each service's role may do in Postgres: the whole catalogue, and some deeds tried."""

import asyncpg
import pytest

from infra.bootstrap.postgres import connect, schema_of
from shared.kernel.names import API_EDGE, BILLING, INFERENCE, KEY_VAULT, SERVICES
from tests.realm import TestRealm

pytestmark = pytest.mark.integration

READ, ADD = "select", "insert select"
ALL = "delete insert select update"

# Everything granted on tables and views. `update(a,b)`: these columns only.
GRANTED = {
    API_EDGE: {
        "edge.api_tokens": READ,
        "edge.flows": "insert select update",
        "edge.councils": "insert select update(idempotency_key,question)",
        "edge.preferences": "insert select update",
        "edge.runs": "insert select update(ended_at,ending,idempotency_key,outcome)",
    },
    KEY_VAULT: {
        "key_vault.consents": ADD,
        "key_vault.credentials": "delete insert select update(base_url,ciphertext,fingerprint,hint,"
        "key_version,label,last_used_at,position,status,status_changed_at,"
        "status_said_at,updated_at,version)",
        "key_vault.platform_key_marks": ALL,
        "key_vault.settings": "insert select update",
    },
    INFERENCE: {
        "inference.attempts": "insert select update(consent_id,credential_id,credential_version,ended_at,"
        "error,key_source,outcome,published_at,service,usage,usage_id,would_refuse_policy)",
        "inference.run_ends": "delete insert select update(body,ended_at)",
        "inference.workers": ALL,
    },
    BILLING: {
        "billing.accounts": READ,
        "billing.holds": "insert select update(state)",
        "billing.ledger_check": READ,
        "billing.ledger_faults": READ,
        "billing.outbox": ALL,
        "billing.prices": ADD,
        "billing.transfers": ADD,
        "billing.usage": ADD,
    },
}
# Functions that act with their owner's rights, and who may call them (a trigger's: nobody).
DEFINERS = {
    "billing.authorize_holds": BILLING,
    "billing.free_holds": None,
    "billing.lock_accounts": BILLING,
    "billing.open_accounts": BILLING,
    "billing.post_transfers": None,
    "billing.take_holds": None,
    "edge.forget_councils": API_EDGE,
    "edge.forget_runs": API_EDGE,
    "inference.forget_attempts": INFERENCE,
}
_GRANTS = """
WITH ours AS (
    SELECT c.oid, n.nspname || '.' || c.relname AS name, c.relacl
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%'
), granted AS (
    SELECT name, a.grantee, lower(a.privilege_type) AS deed, NULL AS column_name
    FROM ours, aclexplode(ours.relacl) a
    UNION ALL
    SELECT name, a.grantee, lower(a.privilege_type), attname::text
    FROM ours JOIN pg_attribute ON attrelid = oid, aclexplode(attacl) a
)
SELECT coalesce(rolname, 'public') AS role, name, deed,
       string_agg(column_name, ',' ORDER BY column_name) AS columns
FROM granted LEFT JOIN pg_roles ON pg_roles.oid = grantee
WHERE rolname IS DISTINCT FROM 'postgres' AND rolname IS DISTINCT FROM current_user
GROUP BY 1, 2, 3, column_name IS NULL
ORDER BY 1, 2, 3
"""
_ROLE = """
SELECT rolsuper OR rolcreatedb OR rolcreaterole OR rolreplication OR rolbypassrls AS is_special,
       (SELECT count(*) FROM pg_auth_members WHERE member = pg_roles.oid) AS memberships,
       (SELECT count(*) FROM pg_class WHERE relowner = pg_roles.oid) AS owned,
       has_database_privilege(oid, current_database(), 'CREATE, TEMPORARY') AS may_make
FROM pg_roles WHERE rolname = $1
"""
_SCHEMAS = """
SELECT nspname FROM pg_namespace
WHERE nspname NOT LIKE 'pg\\_%' AND nspname NOT IN ('information_schema', 'public')
  AND has_schema_privilege($1, oid, $2)
"""
_DEFINERS = """
SELECT nspname || '.' || proname AS name, prorettype = 'trigger'::regtype AS is_trigger,
       proconfig::text LIKE '%search_path=%' AS is_bound,
       array(SELECT rolname::text FROM pg_roles
             WHERE has_function_privilege(pg_roles.oid, pg_proc.oid, 'EXECUTE') AND starts_with(rolname, $1)
       ) AS callers
FROM pg_proc JOIN pg_namespace ON pg_namespace.oid = pronamespace
WHERE prosecdef AND nspname <> 'pg_catalog'
"""
_DEEDS = (
    "CREATE TABLE mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE ROLE mine",
    "DELETE FROM schema_migrations",
    "SELECT pg_read_file('/etc/passwd')",
    "COPY (SELECT 1) TO PROGRAM 'true'",
    "SELECT * FROM pg_authid",
    "SET ROLE postgres",
)


async def test_every_grant_is_in_the_table(own: TestRealm) -> None:
    async with connect(own.admin["LATCHKEY_POSTGRES_URL"]) as database:
        rows = await database.fetch(_GRANTS)
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        deed = f"{row['deed']}({row['columns']})" if row["columns"] else row["deed"]
        relations = found.setdefault(row["role"].removeprefix(f"{own.name}_"), {})
        relations[row["name"]] = f"{relations.get(row['name'], '')} {deed}".strip()
    for service in SERVICES:
        assert found.pop(service) == GRANTED[service]
    assert found == {}, "nobody else"


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_is_plain_and_sees_its_schema_only(own: TestRealm, service: str) -> None:
    role = own.name + "_" + service
    async with connect(own.admin["LATCHKEY_POSTGRES_URL"]) as database:
        told = await database.fetchrow(_ROLE, role)
        seen = [row["nspname"] for row in await database.fetch(_SCHEMAS, role, "USAGE")]
        owns = await database.fetch(_SCHEMAS, role, "CREATE")
    assert dict(told or {}) == {"is_special": False, "memberships": 0, "owned": 0, "may_make": False}
    assert (seen, owns) == ([schema_of(service)], [])


async def test_what_acts_with_its_owners_rights_is_known(own: TestRealm) -> None:
    async with connect(own.admin["LATCHKEY_POSTGRES_URL"]) as database:
        rows = await database.fetch(_DEFINERS, own.name + "_")
    assert {row["name"] for row in rows} == set(DEFINERS)
    assert all(row["is_bound"] for row in rows), "each finds tables in its own schema only"
    for row in rows:
        caller = DEFINERS[row["name"]]
        assert row["is_trigger"] == (caller is None)
        assert row["is_trigger"] or row["callers"] == [own.name + "_" + str(caller)]


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_is_refused_the_rest(own: TestRealm, service: str) -> None:
    others = [name for other in SERVICES if other != service for name in GRANTED[other]]
    own_tables = [name for name in GRANTED[service] if "ledger_" not in name]  # those are views
    deeds = (
        *_DEEDS,
        *(f"SELECT * FROM {name}" for name in others),  # noqa: S608
        *(f"DELETE FROM {name}" for name in others),  # noqa: S608
        *(f"{deed} {name}" for name in own_tables for deed in ("TRUNCATE", "DROP TABLE")),
        *(f"ALTER TABLE {name} ADD mine int" for name in own_tables),
        f'SET ROLE "{own.name}_{API_EDGE if service != API_EDGE else BILLING}"',
    )
    async with connect(own.env(service)["LATCHKEY_POSTGRES_URL"]) as database:
        for deed in deeds:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await database.execute(deed)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_role_enters_no_other_realms_database(own: TestRealm, realm: TestRealm, service: str) -> None:
    url = own.env(service)["LATCHKEY_POSTGRES_URL"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(url.removesuffix(own.name) + realm.name)
