-- A checkpoint that was made although something differed, or of a stream that was lost: no check looks further back.
ALTER TABLE checkpoints ADD COLUMN accepted boolean NOT NULL DEFAULT false;
