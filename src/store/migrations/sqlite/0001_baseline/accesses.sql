-- The access log (docs/access-log.md). It stays empty while the setting access.log is off.
--
-- An entry needs no row in the event log, which has none for a packed touch. The key ends with the event: an entry of the same
-- event is written once.

create table accesses (
    client   integer not null,
    time     integer not null,
    -- The number of the source of the event.
    source   integer not null,
    -- The id of the event, as in `events`.
    id       any not null,
    reason   integer not null,
    by_staff integer not null,
    sequence text not null,
    user_id  text not null,
    actor    text not null,
    primary key (client, time, source, id)
) strict, without rowid;
-- Retention removes the oldest entries, and lists of all clients are in the order of time.
create index accesses_by_time on accesses (time, client, source, id);

create table access_log_since (
    only_row integer primary key default 1 check (only_row = 1),
    since    integer not null
) strict;
