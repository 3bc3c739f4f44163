-- API tokens: a token's SHA-256 is kept, never the token.
create table api_tokens (
    token_sha256 bytea primary key check (octet_length(token_sha256) = 32),
    user_id text not null check (char_length(user_id) between 1 and 128),
    role text not null check (role in ('user', 'admin', 'service')),
    label text check (char_length(label) <= 200),
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz
);

-- Whose run it is. What it used and cost is billing's.
create table runs (
    run_id uuid primary key,
    user_id text not null check (char_length(user_id) between 1 and 128),
    flow text not null,
    model text not null,
    stream boolean not null,
    created_at timestamptz not null default clock_timestamp()
);

-- Tokens are made and revoked by operators only; a run is written once.
grant select on api_tokens to :service_role;
grant select, insert on runs to :service_role;
