-- Councils: several runs side by side, and one that makes their answers into one. Their runs are in `runs`.
create table councils (
    council_id uuid primary key,
    user_id text not null check (char_length(user_id) between 1 and 128),
    members jsonb not null,
    synthesis_id uuid not null,
    created_at timestamptz not null,
    deadline timestamptz not null,
    session_id text check (char_length(session_id) between 1 and 200),
    idempotency_key text check (char_length(idempotency_key) between 1 and 200),
    request_sha256 bytea check (octet_length(request_sha256) = 32),
    question text,
    check ((idempotency_key is null) or (request_sha256 is not null))
);
comment on column councils.question is
    'What the synthesis is to be asked, as JSON, without any key; null once it was, and when it is not to be.';

create unique index councils_idempotency_key on councils (user_id, idempotency_key) where idempotency_key is not null;
create index councils_open on councils (deadline) where question is not null;

grant select, insert, update (question, idempotency_key) on councils to :service_role;
