-- A credential's whole life: it is replaced (a version further), ordered, marked by what its provider says, rewrapped.
alter table credentials
    add version integer not null default 1 check (version > 0),
    add position integer not null default 0 check (position >= 0),
    add status text not null default 'active' check (
        status in ('active', 'inactive', 'invalid', 'expired', 'no_quota', 'unreachable')
    ),
    add status_changed_at timestamptz,
    -- When somebody last spoke of the status, changed or not: a word from before does not count any more.
    add status_said_at timestamptz,
    add last_used_at timestamptz,
    add updated_at timestamptz not null default clock_timestamp();

-- For the rewrap job: what an older master key encrypted.
create index credentials_by_key_version on credentials (key_version, id);

-- Team gateways are another decision, and nobody takes it for the user.
alter table settings add allow_gateway_fallback boolean not null default false;

-- Every decision ever taken: usage events name it by its id.
create table consents (
    consent_id uuid primary key,
    user_id text not null check (char_length(user_id) between 1 and 128),
    allow_platform_fallback boolean not null,
    allow_gateway_fallback boolean not null,
    decided_at timestamptz not null
);
insert into consents (consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, decided_at)
select consent_id, user_id, allow_platform_fallback, allow_gateway_fallback, changed_at from settings;

-- Platform keys that are cooling down or out, for every replica to see. No row: ready. No key, only its digest's id.
create table platform_key_marks (
    credential_id text primary key check (char_length(credential_id) <= 128),
    service text not null,
    state text not null check (state in ('cooling', 'out')),
    until timestamptz,
    reason text not null,
    marked_at timestamptz not null,
    check ((state = 'cooling') = (until is not null))
);

-- Whose key and which one stays as it is: only these columns may change.
grant update (
    ciphertext, key_version, fingerprint, hint, base_url, version, label, position, status, status_changed_at,
    status_said_at, last_used_at, updated_at
) on credentials to :service_role;
grant select, insert on consents to :service_role;
grant select, insert, update, delete on platform_key_marks to :service_role;
