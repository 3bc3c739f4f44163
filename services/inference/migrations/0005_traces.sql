-- The trace that an attempt belongs to (W3C), so that what is published of it later goes on with it; null while
-- traces are off.
alter table attempts add column traceparent text check (char_length(traceparent) <= 64);
