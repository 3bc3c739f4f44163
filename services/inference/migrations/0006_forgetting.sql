-- What was published long ago is forgotten, the oldest first: whole runs, whose deadline is a day past, whoever asks. A
-- run that may still come would be called again. Returns how many attempts. An id begins with its run's time of birth.
create function forget_attempts(born_before uuid, at_most integer) returns bigint
language sql security definer set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    with forgotten as (
        delete from attempts where ctid = any (array(
            select ctid from attempts
            where run_id < born_before and published_at is not null and deadline < now() - interval '1 day'
              and not exists (
                  select from attempts as other
                  where other.run_id = attempts.run_id
                    and (other.published_at is null or other.deadline >= now() - interval '1 day')
              )
            order by run_id limit at_most
            for update skip locked
        ))
        returning 1
    )
    select count(*) from forgotten
$$;
revoke all on function forget_attempts from public;
grant execute on function forget_attempts to :service_role;
