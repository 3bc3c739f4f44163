-- Users whom `latchkey recover` had to leave out, and from when on the streams tell of what they lack.
CREATE TABLE unrecovered (user_id text PRIMARY KEY, since timestamptz NOT NULL);
