-- What was published long ago is forgotten, the oldest first; nothing else, and nothing younger than a day, whoever asks.
-- Returns how many. An id begins with its run's time of birth.
create function forget_attempts(born_before uuid, at_most integer) returns bigint
language sql security definer set search_path from current set enable_seqscan = off as $$
    with forgotten as (
        delete from attempts where ctid = any (array(
            select ctid from attempts
            where run_id < least(born_before, (
                lpad(to_hex((extract(epoch from now() - interval '1 day') * 1000)::bigint), 12, '0') || repeat('0', 20)
            )::uuid) and published_at is not null
            order by run_id limit at_most
            for update skip locked
        ))
        returning 1
    )
    select count(*) from forgotten
$$;
revoke all on function forget_attempts from public;
grant execute on function forget_attempts to :service_role;
