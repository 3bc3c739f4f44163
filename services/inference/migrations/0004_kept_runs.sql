-- Kept runs: what their clients may still ask for when the run is over. It lies here from the end of the last attempt,
-- in one transaction with it, until an edge has been told; so this is an outbox, too. No key: answers are redacted.
create table run_ends (
    run_id uuid primary key,
    ended_at timestamptz not null,
    body text not null
);

create index run_ends_oldest on run_ends (ended_at);

grant select, insert, delete on run_ends to :service_role;
-- For a run that ends by two attempts at once, and to lock what is being published.
grant update (ended_at, body) on run_ends to :service_role;

alter table attempts
    add column kept boolean not null default false,
    add column session_id text check (char_length(session_id) <= 200);
