-- One row is an attempt's claim, its ending and the outbox of its usage event. No key, no prompt, no answer.
create table attempts (
    run_id uuid not null,
    attempt smallint not null check (attempt > 0),
    usage_id uuid not null unique,
    worker text not null,
    user_id text not null,
    flow text not null,
    policy text not null,
    provider text not null,
    model text not null,
    stream boolean not null,
    claimed_at timestamptz not null,
    -- Written before the provider is called.
    key_source text,
    credential_id text,
    consent_id text,
    service text,
    -- Written once, all together, when the attempt ends.
    outcome text check (
        outcome in ('completed', 'failed', 'refused', 'cancelled', 'interrupted', 'expired')
    ),
    usage jsonb,
    error jsonb,
    ended_at timestamptz,
    primary key (run_id, attempt),
    check ((outcome is null) = (usage is null)),
    check ((outcome is null) = (ended_at is null))
);

create index attempts_unfinished on attempts (worker) where outcome is null;

-- One row a worker process; whose `seen_at` is old is lost.
create table workers (
    worker text primary key,
    seen_at timestamptz not null
);

-- What has ended stays as it ended.
create function forbid_second_ending() returns trigger language plpgsql as $$
begin
    raise exception 'attempt %/% has ended', old.run_id, old.attempt using errcode = 'integrity_constraint_violation';
end
$$;

create trigger attempts_end_once before update on attempts
    for each row when (old.outcome is not null) execute function forbid_second_ending();

grant select, insert, update on attempts to :service_role;
grant select, insert, update, delete on workers to :service_role;
