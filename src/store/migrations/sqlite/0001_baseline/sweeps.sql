create table sweep_runs (
    id           integer primary key autoincrement,
    sweep        text not null,
    scheduled_at integer not null,
    started_at   integer not null,
    finished_at  integer,
    upto         integer,
    status       text not null check (status in ('running', 'done', 'failed', 'held_back', 'tripped', 'stopped')),
    examined     integer not null default 0,
    changed      integer not null default 0,
    changes      integer not null default 0,
    failed       integer not null default 0,
    error        text,
    worker       text not null,
    -- Workers that start a sweep at the same tick share one run.
    unique (sweep, scheduled_at)
) strict;

create table sweep_chunks (
    run       integer not null references sweep_runs (id) on delete cascade,
    -- The number of its first line in the journal.
    first_seq integer not null,
    -- The number of its last line in the journal.
    last_seq  integer not null,
    primary key (run, first_seq)
) strict, without rowid;

create table sweep_halts (
    sweep text not null,
    kind  text not null check (kind in ('paused', 'tripped')),
    at    integer not null,
    why   text not null,
    primary key (sweep, kind)
) strict;
