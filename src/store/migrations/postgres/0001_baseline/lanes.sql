-- Workers.

create table lanes (
    lane          text collate "C" primary key,
    watermark     timestamptz,
    recorded_at   timestamptz not null,
    partition_key text
);
comment on table lanes is 'The lanes of the broker, and how far each has been processed.';
comment on column lanes.lane is 'The queue.';
comment on column lanes.watermark is
    'Every message that entered the queue before this moment has been processed. Null: no heartbeat has passed through it yet.';
comment on column lanes.recorded_at is 'When the row was last written.';
comment on column lanes.partition_key is
    'A partition key that the broker routes to this lane: that of the last heartbeat. Null: none is known yet.';

create table expected_sources (
    source         text collate "C" primary key,
    every_seconds  bigint not null check (every_seconds > 0),
    expected_since timestamptz not null,
    last_heard     timestamptz,
    counted_hour   timestamptz,
    events         bigint not null default 0,
    events_before  bigint not null default 0
);
comment on table expected_sources is
    'The sources that the settings expect to hear from regularly. While one is silent, no timer fires that is due later than it '
    'was last heard from.';
comment on column expected_sources.source is 'The source, as its events name it.';
comment on column expected_sources.every_seconds is 'The interval in which at least one event is expected.';
comment on column expected_sources.expected_since is 'When the source was first expected.';
comment on column expected_sources.last_heard is
    'The latest time of an event that has arrived from it, to within ten seconds. Null: none has arrived since it is expected.';
comment on column expected_sources.counted_hour is 'The beginning of the hour whose events are counted. Null: none were counted.';
comment on column expected_sources.events is 'The number of its events that arrived in that hour. A worker that dies may lose some.';
comment on column expected_sources.events_before is 'The same of the hour before.';

create table heartbeat_key (
    only_row boolean primary key default true check (only_row),
    key      text not null
);
insert into heartbeat_key (key) values (gen_random_uuid()::text || gen_random_uuid()::text);
comment on table heartbeat_key is
    'Workers sign heartbeats with this key, so that nobody who may only publish events can forge one. One row.';
comment on column heartbeat_key.only_row is 'Always true.';
comment on column heartbeat_key.key is 'The key. Secret.';

create table clock (
    only_row boolean primary key default true check (only_row),
    latest   timestamptz not null
);
comment on table clock is
    'The latest moment at which a worker fired timers. A moment in the future shows that a clock was wrong. One row.';
comment on column clock.only_row is 'Always true.';
comment on column clock.latest is 'The moment.';

create table write_probe (
    only_row   boolean primary key default true check (only_row),
    written_at timestamptz not null default now()
);
insert into write_probe default values;
comment on table write_probe is
    'Workers update this row regularly: only a write shows whether the store accepts writes. One row.';
comment on column write_probe.only_row is 'Always true.';
comment on column write_probe.written_at is 'When it was last written.';
