-- The row is the outbox, too: what has ended is published until the broker has confirmed it. And it keeps what
-- the usage event tells of the request, so that an attempt can be ended whose message is gone with its worker.
alter table attempts
    add column requested_at timestamptz,
    add column deadline timestamptz,
    add column published_at timestamptz check (published_at is null or outcome is not null);

alter table attempts disable trigger attempts_end_once;
update attempts set requested_at = claimed_at,
                    deadline = claimed_at + interval '1 hour',
                    published_at = case when outcome is not null then now() end;
alter table attempts enable trigger attempts_end_once;

alter table attempts
    alter column requested_at set not null,
    alter column deadline set not null;

create index attempts_unpublished on attempts (ended_at) where outcome is not null and published_at is null;

-- What has ended stays as it ended; that it was published is noted once.
drop trigger attempts_end_once on attempts;
create trigger attempts_end_once before update on attempts
    for each row when (
        old.outcome is not null
        and (old.published_at is not null or new.published_at is null
             or (old.usage_id, old.key_source, old.credential_id, old.consent_id, old.service,
                 old.credential_version, old.would_refuse_policy, old.outcome, old.usage, old.error, old.ended_at)
                is distinct from
                (new.usage_id, new.key_source, new.credential_id, new.consent_id, new.service,
                 new.credential_version, new.would_refuse_policy, new.outcome, new.usage, new.error, new.ended_at))
    )
    execute function forbid_second_ending();

-- What a claim says of its run never changes.
revoke update on attempts from :service_role;
grant update (usage_id, key_source, credential_id, consent_id, service, credential_version, would_refuse_policy,
              outcome, usage, error, ended_at, published_at) on attempts to :service_role;
