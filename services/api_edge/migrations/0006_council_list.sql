-- A user's councils, newest first: their ids rise with time.
create index councils_of_user on councils (user_id, council_id);
