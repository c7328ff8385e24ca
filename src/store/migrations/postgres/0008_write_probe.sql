-- Workers update this row regularly: whether a store can be written is known only from a write.
create table write_probe (
    only_row   boolean primary key default true check (only_row),
    written_at timestamptz not null default now()
);
insert into write_probe default values;

-- Workers sign heartbeats with this, so that whoever may only publish events cannot forge one.
create table heartbeat_key (
    only_row boolean primary key default true check (only_row),
    key      text not null
);
insert into heartbeat_key (key) values (gen_random_uuid()::text || gen_random_uuid()::text);

-- A partition key that the broker routes to this lane: that of the last heartbeat that came through it. Null: none is
-- known yet.
alter table lanes add column partition_key text;
