create table lanes (
    lane          text primary key,
    watermark     integer,
    recorded_at   integer not null,
    partition_key text
) strict;

create table expected_sources (
    source         text primary key,
    every_seconds  integer not null check (every_seconds > 0),
    expected_since integer not null,
    last_heard     integer,
    counted_hour   integer,
    events         integer not null default 0,
    events_before  integer not null default 0
) strict;

create table heartbeat_key (
    only_row integer primary key default 1 check (only_row = 1),
    key      text not null
) strict;
insert into heartbeat_key (key) values (hex(randomblob(32)));

create table clock (
    only_row integer primary key default 1 check (only_row = 1),
    latest   integer not null
) strict;

create table write_probe (
    only_row   integer primary key default 1 check (only_row = 1),
    written_at integer not null
) strict;
insert into write_probe (written_at) values (0);
