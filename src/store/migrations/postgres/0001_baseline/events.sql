-- Events.

create table events (
    time        timestamptz not null,
    received_at timestamptz not null,
    client      integer not null,
    type        smallint not null,
    reason      smallint not null,
    ref         bytea not null,
    sequence    text not null,
    actor       text not null,
    data        text not null,
    -- By time: a late event reads its client's history from a moment on.
    primary key (client, time, ref)
);
-- Not by client first: it finds an event that comes again, also with another time or for another client (its source then gave one id
-- to two events). While it exists, the table cannot be partitioned by client (docs/scaling.md).
-- The second of two transactions that write one at the same moment waits for the first, and conflicts. A unique index (a B-tree)
-- would do the same and take 54 bytes an event; this takes 35.
alter table events add constraint events_by_ref exclude using hash (ref with =);
-- Lists refusals in order of time. An event that is applied has no entry.
create index events_refused on events (time, client, ref) where reason <> 0;
comment on table events is 'The event log: every event that was applied or refused, except touches that are packed into runs.';
comment on column events.time is 'When it happened, according to its source.';
comment on column events.received_at is 'When it was stored.';
comment on column events.client is 'The number of the client.';
comment on column events.type is 'The type, as a word.';
comment on column events.reason is 'Why it was refused, as a word. 0: it was applied.';
comment on column events.ref is 'Its source and id in one byte string: see `event_ref`, `ref_source` and `ref_id`.';
comment on column events.sequence is 'Orders events of the same time. Empty: it has none. Otherwise a colon and the sequence.';
comment on column events.actor is
    'Who caused it, as its sender says: the kind of actor, a colon, and the actor''s id, each if it was sent. Empty: neither was.';
comment on column events.data is 'Its data as JSON, as far as the program understands it. Empty: it has none.';

-- The hottest table: a row is rewritten in place, beside its older self on the same page.
create table touches (
    renew_before   timestamptz,
    renew_policies bigint,
    renew_after    timestamptz,
    client         integer primary key,
    open_run       bytea not null
) with (fillfactor = 50);
comment on table touches is
    'The latest touches of each client, and its renew-only window: a touch in it renews access and does nothing else, so that '
    'the client need not be read. If any of its three columns is null, no window is known.';
comment on column touches.renew_before is 'The end of the window: when the next timer is due if no touch comes.';
comment on column touches.renew_policies is 'The number of recorded policies under which the window is valid.';
comment on column touches.renew_after is 'The start of the window: the last touch.';
comment on column touches.client is 'The number of the client.';
comment on column touches.open_run is 'Packed touches since the run was opened.';

create table touch_runs (
    last_at timestamptz not null,
    client  integer not null,
    number  integer not null,
    run     bytea not null,
    primary key (client, number)
);
-- A replay that starts from a checkpoint reads the runs with later touches.
create index touch_runs_by_time on touch_runs (client, last_at);
comment on table touch_runs is 'Full runs of touches. A run is never written again.';
comment on column touch_runs.last_at is 'The time of the last touch.';
comment on column touch_runs.client is 'The number of the client.';
comment on column touch_runs.number is 'Counts the runs of the client.';
comment on column touch_runs.run is 'Packed touches.';

-- Checkpoints (docs/decisions/0016-replays-start-from-checkpoints.md).

create table checkpoints (
    time     timestamptz not null,
    events   bigint not null,
    policies bigint not null,
    client   integer not null,
    state    json not null,
    primary key (client, time)
);
comment on table checkpoints is
    'Earlier states of clients with long histories. A late event replays its client''s history from the last one before it.';
comment on column checkpoints.time is 'The state includes every event of the client up to this moment, and no later one.';
comment on column checkpoints.events is 'About how many events that are. Later checkpoints are placed by it.';
comment on column checkpoints.policies is
    'A digest of the policies in force up to this moment. If those differ now, the checkpoint is not used.';
comment on column checkpoints.client is 'The number of the client.';
comment on column checkpoints.state is 'The state, as the field `client` of a document.';
