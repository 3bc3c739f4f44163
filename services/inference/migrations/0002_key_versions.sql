-- Which of a stored credential's keys was used, and which policy, only reported on, would have refused it: a lost
-- worker's attempt ends with them all the same.
alter table attempts
    add column credential_version integer check (credential_version > 0),
    add column would_refuse_policy text;
