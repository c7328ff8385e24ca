-- In the order of the key, so that a client's history is read from one place, and from any moment on.
create table events (
    client      integer not null,
    time        integer not null,
    -- The number of its source.
    source      integer not null,
    -- The id that its source gave it: a blob of 16 bytes for a UUID in lower case, text for any other.
    id          any not null,
    type        integer not null,
    reason      integer not null,
    received_at integer not null,
    sequence    text not null,
    actor       text not null,
    data        text not null,
    primary key (client, time, source, id)
) strict, without rowid;
-- Not by client first: it finds an event that arrives again, with another time or for another client too. By id first, where two
-- keys differ soonest.
create unique index events_by_id on events (id, source);
-- Lists refusals in order of time. An event that is applied has no entry.
create index events_refused on events (time, client, source, id) where reason <> 0;

create table touches (
    client         integer primary key,
    open_run       blob not null,
    renew_after    integer,
    renew_before   integer,
    renew_policies integer
) strict;

create table touch_runs (
    client  integer not null,
    number  integer not null,
    last_at integer not null,
    run     blob not null,
    primary key (client, number)
) strict, without rowid;
-- A replay that starts from a checkpoint reads the runs with later touches.
create index touch_runs_by_time on touch_runs (client, last_at);

-- Not by its key: a state is large, and would stand in the inner pages of the tree.
create table checkpoints (
    client   integer not null,
    time     integer not null,
    events   integer not null,
    policies integer not null,
    state    text not null,
    primary key (client, time)
) strict;
