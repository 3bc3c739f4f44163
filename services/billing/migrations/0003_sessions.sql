-- What the runs of one session come to, for its user.
CREATE INDEX usage_of_session ON usage (user_id, (event ->> 'session_id')) WHERE event ->> 'session_id' IS NOT NULL;
