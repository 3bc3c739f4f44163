-- Flows: named kinds of run. The edge puts in those it ships, once; administrators change them over its API.
create table flows (
    task_name text primary key check (task_name ~ '^[a-z][a-z0-9_]{0,63}$'),
    description text not null check (char_length(description) between 1 and 500),
    policy text not null
        check (policy in ('user_key_required', 'user_key_preferred', 'platform_only', 'system')),
    default_model text not null check (char_length(default_model) between 1 and 250),
    report_only boolean not null default false,
    updated_at timestamptz not null default clock_timestamp(),
    updated_by text check (char_length(updated_by) between 1 and 128)
);

grant select, insert, update on flows to :service_role;
