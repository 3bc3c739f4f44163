"""The SQL of credentials and consent. Within a service: lower position first, then the newer."""

from typing import Final

# A statement of its own, in the insert's transaction: of many at once, each counts those before it.
ONE_BY_ONE: Final = "select pg_advisory_xact_lock(hashtextextended($1, 0))"

INSERT: Final = """
insert into credentials
    (id, user_id, service, ciphertext, key_version, fingerprint, hint, label, base_url, version, status)
select $1, $2::text, $3, $4, $5, $6, $7, $8, $9, $10, $11
where (select count(*) from credentials where user_id = $2) < $12
on conflict do nothing
returning *
"""

# A statement of its own: the insert's own snapshot does not see a row that a concurrent insert has just made.
SAME: Final = "select * from credentials where user_id = $1 and service = $2 and fingerprint = $3"

# One row at least, with nulls for a user who has no credential.
OWN: Final = """
select c.*, s.allow_platform_fallback, s.allow_gateway_fallback, s.consent_id, s.changed_at
from (select $1::text as user_id) asked
left join settings s using (user_id)
left join credentials c
    on c.user_id = asked.user_id and c.service = any($2::text[]) and c.status <> 'inactive'
order by c.position, c.created_at desc, c.id desc
"""

ALL: Final = """
select * from credentials where user_id = $1 order by service, position, created_at desc, id desc
"""

FIND: Final = "select * from credentials where user_id = $1 and id = $2"

# `inactive` is its owner's wish, and stays. What the old key was used for says nothing of the new one.
REPLACE: Final = """
update credentials set
    ciphertext = $5, key_version = $6, fingerprint = $7, hint = $8, base_url = $9, version = $4,
    status = case when status = 'inactive' then status else $10 end,
    status_changed_at =
        case when status in ('inactive', $10) then status_changed_at else clock_timestamp() end,
    status_said_at = clock_timestamp(), last_used_at = null, updated_at = clock_timestamp()
where user_id = $1 and id = $2 and service = $3 and version = $4 - 1
returning *
"""

# $6: of which version's key its provider said $5; null when its owner did.
UPDATE: Final = """
with said as (
    select id, case when $6::integer is null or (version = $6 and status <> 'inactive') then $5::text end
        as status
    from credentials where user_id = $1 and id = $2 for no key update
)
update credentials c set
    label = case when $3::text is null then label else nullif($3, '') end,
    position = coalesce($4, position),
    status = coalesce(said.status, c.status),
    status_changed_at = case when c.status <> said.status then clock_timestamp() else status_changed_at end,
    status_said_at = case when said.status is not null then clock_timestamp() else status_said_at end,
    updated_at = clock_timestamp()
from said
where c.user_id = $1 and c.id = said.id
returning c.*
"""

DELETE: Final = "delete from credentials where user_id = $1 and id = $2 returning id"

DELETE_ALL: Final = """
delete from credentials where user_id = $1 and ($2::text is null or service = $2) returning id
"""

# Rows are locked in one order, so that two replicas' batches do not wait for each other.
# $1 id, $2 version, $3 status, $4 at: one word may be heard twice, late, or after another.
NOTE_USES: Final = """
with said as (
    select * from unnest($1::uuid[], $2::integer[], $3::text[], $4::timestamptz[])
        as word (id, version, status, at)
), last as (
    select distinct on (id, version) id, version, status, at,
        max(at) filter (where status = 'active') over (partition by id, version) as used_at
    from said order by id, version, at desc
), locked as (
    select c.id from credentials c join last using (id, version) order by c.id for no key update of c
)
update credentials c set
    last_used_at = greatest(c.last_used_at, last.used_at),
    status = case when c.status <> 'inactive' and last.at >= coalesce(c.status_said_at, last.at)
        then last.status else c.status end,
    status_changed_at = case
        when c.status not in ('inactive', last.status) and last.at >= coalesce(c.status_said_at, last.at)
        then last.at else c.status_changed_at end,
    status_said_at = greatest(c.status_said_at, last.at)
from last join locked using (id)
where c.id = last.id and c.version = last.version
"""

ENCRYPTED_BEFORE: Final = """
select * from credentials where key_version < $1 order by key_version, id limit $2
"""

COUNT_BEFORE: Final = "select count(*) from credentials where key_version < $1"

# $1 id, $2 the ciphertext that was read, $3 and $4 what comes in its place.
REWRAP: Final = """
with fresh as (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::integer[])
        as one (id, seen, ciphertext, key_version)
), locked as (
    select c.id from credentials c join fresh using (id) order by c.id for no key update of c
)
update credentials c set ciphertext = fresh.ciphertext, key_version = fresh.key_version
from fresh join locked using (id)
where c.id = fresh.id and c.ciphertext = fresh.seen
returning c.id
"""

CONSENT: Final = "select * from settings where user_id = $1"

# The decision and its history in one statement; of two at once the second builds on the first.
DECIDE: Final = """
with decided as (
    insert into settings (user_id, allow_platform_fallback, allow_gateway_fallback, consent_id, changed_at)
    values ($1, coalesce($2, $5::boolean), coalesce($3, $6::boolean), $4, clock_timestamp())
    on conflict (user_id) do update set
        allow_platform_fallback = coalesce($2, settings.allow_platform_fallback),
        allow_gateway_fallback = coalesce($3, settings.allow_gateway_fallback),
        consent_id = $4, changed_at = clock_timestamp()
    returning *
)
insert into consents (consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, decided_at)
select consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, changed_at from decided
returning consent_id, allow_platform_fallback, allow_gateway_fallback, decided_at as changed_at
"""
