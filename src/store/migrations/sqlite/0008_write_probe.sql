-- Workers update this row regularly: whether a store can be written is known only from a write.
create table write_probe (
    only_row   integer primary key default 1 check (only_row = 1),
    written_at integer not null
) strict;
insert into write_probe (written_at) values (0);

-- Workers sign heartbeats with this, so that whoever may only publish events cannot forge one.
create table heartbeat_key (
    only_row integer primary key default 1 check (only_row = 1),
    key      text not null
) strict;
insert into heartbeat_key (key) values (hex(randomblob(32)));

-- A partition key that the broker routes to this lane: that of the last heartbeat that came through it. Null: none is
-- known yet.
alter table lanes add column partition_key text;
