-- The latest moment at which a worker let timers fire. When it lies ahead, some worker's clock was wrong.
create table clock (
    only_row integer primary key default 1 check (only_row = 1),
    latest   integer not null
) strict;

-- When a dead letter is read again by itself: its event was ahead of the clock. Null: it waits for a person.
alter table dead_letters add column retry_at integer;
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;
