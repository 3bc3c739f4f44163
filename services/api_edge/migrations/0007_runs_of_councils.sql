-- A run says which council it is a run of.
alter table runs add column council_id uuid;
update runs set council_id = told.council_id
from (
    select council_id, synthesis_id as run_id from councils
    union all
    select council_id, (member ->> 'run_id')::uuid from councils, jsonb_array_elements(members) as member
) as told
where runs.run_id = told.run_id;
