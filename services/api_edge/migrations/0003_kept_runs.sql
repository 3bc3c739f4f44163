-- Kept runs: asked for by POST /api/runs or with an Idempotency-Key. They go on without their client, who may come back
-- for them, to any edge. The worker's word of their end is kept for a while, answer included (no key: answers are redacted).
alter table runs
    add column kept boolean not null default false,
    add column kind text not null default 'chat' check (kind ~ '^[a-z_]{1,20}$'),
    add column session_id text check (char_length(session_id) between 1 and 200),
    add column idempotency_key text check (char_length(idempotency_key) between 1 and 200),
    add column request_sha256 bytea check (octet_length(request_sha256) = 32),
    add column start_by timestamptz,
    add column deadline timestamptz,
    add column outcome text,
    add column ended_at timestamptz,
    add column ending text,
    add check (kept = (deadline is not null)),
    add check ((idempotency_key is null) or (kept and request_sha256 is not null)),
    add check ((outcome is null) = (ended_at is null));
comment on column runs.ending is 'A RunEnded as JSON; null before the end, and when it has been kept for long enough.';

create unique index runs_idempotency_key on runs (user_id, idempotency_key) where idempotency_key is not null;
create index runs_kept on runs (user_id, run_id) where kept;
create index runs_going_on on runs (user_id, deadline) where kept and outcome is null;
create index runs_ended on runs (ended_at) where ending is not null;

grant update (idempotency_key, outcome, ended_at, ending) on runs to :service_role;
