create table dead_letters (
    id              integer primary key autoincrement,
    digest          blob not null unique,
    origin          text not null,
    source          text,
    content_type    text,
    headers         text not null,
    body            blob not null,
    bytes           integer not null,
    reason          text not null,
    status          text not null check (status in ('open', 'redriven', 'discarded')),
    times_seen      integer not null,
    first_seen_at   integer not null,
    last_seen_at    integer not null,
    resolved_at     integer,
    claimed_until   integer,
    redriven_at     integer,
    redrive_outcome text,
    retry_at        integer
) strict;
-- Counts and lists the open ones without reading the resolved ones.
create index dead_letters_open on dead_letters (id) where status = 'open';
-- Retention removes those that were resolved first.
create index dead_letters_resolved on dead_letters (resolved_at) where status <> 'open';
-- Those that are redriven automatically are claimed in this order once they are due.
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;
