-- Where operators want it so, old runs and councils are forgotten, the oldest first; nothing younger than a day, whoever
-- asks, and nothing that goes on. Each returns how many. An id begins with its time of birth.
create function a_day_ago() returns uuid language sql stable as $$
    select (lpad(to_hex((extract(epoch from now() - interval '1 day') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;

create function forget_runs(born_before uuid, at_most integer) returns bigint
language sql security definer set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    with forgotten as (
        delete from runs where ctid = any (array(
            select ctid from runs
            where run_id < least(born_before, a_day_ago()) and (not kept or outcome is not null)
            order by run_id limit at_most
            for update skip locked
        ))
        returning 1
    )
    select count(*) from forgotten
$$;

create function forget_councils(born_before uuid, at_most integer) returns bigint
language sql security definer set search_path from current
set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off as $$
    with forgotten as (
        delete from councils where ctid = any (array(
            select ctid from councils
            where council_id < least(born_before, a_day_ago()) and question is null
            order by council_id limit at_most
            for update skip locked
        ))
        returning 1
    )
    select count(*) from forgotten
$$;

revoke all on function forget_runs, forget_councils from public;
grant execute on function forget_runs, forget_councils to :service_role;
