-- The row is the outbox, too: what has ended is published until the broker has confirmed it.
alter table attempts add column published_at timestamptz;

alter table attempts disable trigger attempts_end_once;
update attempts set published_at = now() where outcome is not null;
alter table attempts enable trigger attempts_end_once;

create index attempts_unpublished on attempts (ended_at) where outcome is not null and published_at is null;

-- What has ended stays as it ended; that it was published is noted once.
drop trigger attempts_end_once on attempts;
create trigger attempts_end_once before update on attempts
    for each row when (
        old.outcome is not null
        and (old.published_at is not null or new.published_at is null
             or (old.outcome, old.usage, old.error, old.ended_at)
                is distinct from (new.outcome, new.usage, new.error, new.ended_at))
    )
    execute function forbid_second_ending();
