-- Credentials: Transit ciphertext and what people may know of it, never the key.
create table credentials (
    id uuid primary key,
    user_id text not null check (char_length(user_id) between 1 and 128),
    service text not null check (
        service in ('openai', 'anthropic', 'groq', 'gemini', 'xai', 'openrouter', 'gateway')
    ),
    -- Nothing but Transit's own format gets in: a key in plain text is refused by the table itself.
    ciphertext text not null check (ciphertext ~ '^vault:v[0-9]+:[A-Za-z0-9+/=]+$'),
    key_version integer not null check (key_version > 0),
    fingerprint text not null check (fingerprint ~ '^vault:v[0-9]+:[A-Za-z0-9+/=]+$'),
    hint text not null check (char_length(hint) <= 16),
    label text check (char_length(label) <= 200),
    base_url text check (base_url like 'https://%' and char_length(base_url) <= 512),
    created_at timestamptz not null default clock_timestamp(),
    unique (user_id, service, fingerprint),
    check (service <> 'gateway' or base_url is not null)
);

-- Consent: a user without a row never decided, and the default (allowed) holds.
create table settings (
    user_id text primary key check (char_length(user_id) between 1 and 128),
    allow_platform_fallback boolean not null default true,
    consent_id uuid not null default gen_random_uuid(),
    changed_at timestamptz not null default clock_timestamp()
);

-- No update of credentials: a row is made and destroyed, never changed.
grant select, insert, delete on credentials to :service_role;
grant select, insert, update on settings to :service_role;
