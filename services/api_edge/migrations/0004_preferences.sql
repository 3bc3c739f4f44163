-- What users have chosen for themselves: the model that a run without one takes, and the models they keep at hand.
create table preferences (
    user_id text primary key check (char_length(user_id) between 1 and 128),
    model text check (char_length(model) between 1 and 250),
    parameters jsonb not null default '{}',
    model_set_at timestamptz,
    pinned text[] not null default '{}'
);

grant select, insert, update on preferences to :service_role;
