-- The tables of Tenure on PostgreSQL.
--
-- Clients, sources and words are numbered, and every other table has their numbers: a client's two ids take 20 to 70 bytes in
-- a row and as much again in each of its indexes. The numbers are this database's own. The views have the names.
--
-- A table about clients begins each of its keys with the client, so that it can be partitioned or distributed by it. The one
-- exception is a client's name, which is unique within its partner.
--
-- No column refers to another table by a constraint: a foreign key locks the row that it refers to with each insert. Keys,
-- sources and words are never deleted.
--
-- Tables with millions of rows have no nulls: a row without them is 8 bytes smaller. Their columns stand in the order that
-- needs the least padding.
--
-- Texts that the program sorts or pages by are compared by bytes (collate "C"): locks are taken in the order in which the
-- program sorts keys, whatever the database's own language.

-- Names and their numbers.

create table client_keys (
    number  integer generated always as identity primary key,
    partner text collate "C" not null,
    client  text collate "C" not null,
    unique (partner, client)
);
comment on table client_keys is 'The key of every client that was ever mentioned, and its number. Rows are only added.';
comment on column client_keys.number is 'Identifies the client in all other tables of this database.';
comment on column client_keys.partner is 'The partner''s id.';
comment on column client_keys.client is 'The client''s id, unique within its partner.';

create table sources (
    number integer generated always as identity primary key,
    source text collate "C" not null unique
);
comment on table sources is 'The sources of events. Rows are only added.';
comment on column sources.number is 'Identifies the source in all other tables of this database.';
comment on column sources.source is 'The CloudEvents attribute `source`.';

create table words (
    number smallint generated always as identity primary key,
    word   text collate "C" not null unique
);
comment on table words is
    'The words that the program knows: types of events and changes, refusals, sweeps, and causes. Rows are only added.';
comment on column words.number is 'Stands for the word in all other tables of this database.';
comment on column words.word is 'The word, for example `client.added`, `link.active`, `name_taken`, `access-expiry` or `timer:access_expiry`.';

-- The name of an event in one byte string, 8 bytes smaller in an index than two columns: the number of its source (one byte,
-- or 255 and four bytes), then its id. A UUID in lower case is its 16 bytes. Any other id is its text in UTF-8, and a text of
-- just 16 bytes has a zero byte behind it, which no id contains.

create function event_ref(source integer, id bytea) returns bytea language sql immutable parallel safe as $$
    select case when source < 255 then substr(int4send(source), 4) else '\xff'::bytea || int4send(source) end || id
$$;
comment on function event_ref(integer, bytea) is
    'The reference to an event, from the number of its source and the bytes of its id.';

create function event_ref(source text, id text) returns bytea language sql stable parallel safe as $$
    select event_ref(
        s.number,
        case
            when id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then decode(replace(id, '-', ''), 'hex')
            when octet_length(id) = 16 then convert_to(id, 'UTF8') || '\x00'::bytea
            else convert_to(id, 'UTF8')
        end)
    from sources s
    where s.source = event_ref.source
$$;
comment on function event_ref(text, text) is
    'The reference to an event, from its source and id: `select * from event_log where ref = event_ref(''/app'', ''42'')` uses '
    'the index.';

create function ref_source(ref bytea) returns integer language sql immutable parallel safe as $$
    select case
        when octet_length(ref) = 0 then null
        when get_byte(ref, 0) < 255 then get_byte(ref, 0)
        else (get_byte(ref, 1) << 24) | (get_byte(ref, 2) << 16) | (get_byte(ref, 3) << 8) | get_byte(ref, 4)
    end
$$;
comment on function ref_source(bytea) is 'The number of the source in a reference to an event.';

create function ref_id(ref bytea) returns text language sql immutable parallel safe as $$
    select case octet_length(i.id)
        when 16 then encode(i.id, 'hex')::uuid::text
        when 17 then convert_from(case get_byte(i.id, 16) when 0 then substr(i.id, 1, 16) else i.id end, 'UTF8')
        else convert_from(i.id, 'UTF8')
    end
    from (
        select case
            when octet_length(ref) = 0 then null
            when get_byte(ref, 0) < 255 then substr(ref, 2)
            else substr(ref, 6)
        end as id
    ) i
$$;
comment on function ref_id(bytea) is 'The id in a reference to an event.';

-- Clients.

-- An update logs the bytes from the first that differs to the last, if the new row fits on the page of the old one. So the
-- columns that change with every event stand side by side, and the document begins with what changes.
create table clients (
    version      bigint not null,
    journaled_by bigint not null default 0,
    as_of        timestamptz,
    client       integer primary key,
    doc          json not null,
    access       text not null,
    link         text,
    service      text,
    partner      text collate "C" not null,
    name         text,
    name_key     text collate "C",
    account      text collate "C" not null default '',
    -- Deferrable, so that it is checked at the end of a statement: two clients may swap names in one.
    constraint clients_name_is_unique unique (partner, name_key) deferrable initially immediate
) with (fillfactor = 70);
create index clients_by_account on clients (account, partner, client) where account <> '';
comment on table clients is 'The state of each client, computed from its events.';
comment on column clients.version is 'The number of times that the row was written.';
comment on column clients.journaled_by is
    'The transaction that last wrote a line of this client to the journal, numbered as `journal.xid`.';
comment on column clients.as_of is 'The moment that the document is computed for: its last event, or the last timer that fired.';
comment on column clients.client is 'The number of the client.';
comment on column clients.doc is 'The client''s document: its state and its deadlines.';
comment on column clients.access is 'The status of the partner''s access.';
comment on column clients.link is 'The status of the link. Null: the client was never added.';
comment on column clients.service is 'The status of the service. Null: the client was never added.';
comment on column clients.partner is 'The partner''s id, for the constraint on names: a name is unique within its partner.';
comment on column clients.name is 'The partner''s name for the client.';
comment on column clients.name_key is 'The form of the name that comparisons use. Null: this client holds no name.';
comment on column clients.account is 'The id of its account in the account app. Empty: no event has named it.';

create table deadlines (
    due_at timestamptz not null,
    client integer not null,
    sweep  smallint not null,
    primary key (client, sweep)
);
create index deadlines_due on deadlines (sweep, due_at, client);
comment on table deadlines is 'The earliest moment at which a sweep may have to fire a timer of a client.';
comment on column deadlines.due_at is 'The moment.';
comment on column deadlines.client is 'The number of the client.';
comment on column deadlines.sweep is 'The sweep, as a word.';

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
-- Finds an event that comes again, also with another time or for another client: its source then gave one id to two events.
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

-- The journal and the outbox relay.

create table journal (
    xid           bigint not null,
    seq           bigint generated always as identity,
    time          timestamptz not null,
    recorded_at   timestamptz not null,
    client        integer not null,
    change        smallint not null,
    cause         smallint not null,
    corrector     smallint not null,
    cause_ref     bytea not null,
    corrector_ref bytea not null,
    cause_actor   text not null,
    cause_reason  text not null,
    id            text not null,
    before        text not null,
    after         text not null,
    data          text not null,
    primary key (client, seq)
);
-- It grows at its end only, so its pages can be full.
create index journal_order on journal (xid, seq) with (fillfactor = 100);
comment on table journal is 'All changes, in the order in which they are published. It is also the outbox.';
comment on column journal.xid is 'The transaction that wrote the line: `pg_current_xact_id()`, shifted (see `relay.xid_shift`).';
comment on column journal.seq is 'Orders the lines of a transaction.';
comment on column journal.time is 'When the change took effect.';
comment on column journal.recorded_at is 'When it was written.';
comment on column journal.client is 'The number of the client.';
comment on column journal.change is 'The type of the change, as a word.';
comment on column journal.cause is 'The type of the event that caused it, or another cause, as a word.';
comment on column journal.corrector is
    'What made this correction necessary: the type of the late event, or a rebuild, as a word. 0: it is no correction.';
comment on column journal.cause_ref is 'The event that caused it, as `events.ref`. Empty: the cause is no event.';
comment on column journal.corrector_ref is 'That late event, as `events.ref`. Empty: there is none.';
comment on column journal.cause_actor is 'The actor of that event, as `events.actor`.';
comment on column journal.cause_reason is
    'The `reason` in the data of that event, at most 500 characters of it. Empty: it has none. Otherwise a colon and the reason.';
comment on column journal.id is 'The id of the holding. Empty: the change is not about a holding.';
comment on column journal.before is 'The value before. Empty: there was none.';
comment on column journal.after is
    'The value after. Empty: there is none. `=`: the status that the type ends with. Otherwise a colon and the value.';
comment on column journal.data is 'What else it changes in the client, as JSON. Empty: nothing.';

create table relay (
    only_row      boolean primary key default true check (only_row),
    xid           bigint not null default 0,
    seq           bigint not null default 0,
    xid_shift     bigint not null default 0,
    pruned_before timestamptz,
    epoch         bigint not null
);
insert into relay (epoch)
values ((extract(epoch from clock_timestamp()) * 1000)::bigint * 1000000 + floor(random() * 1000000)::bigint);
comment on table relay is 'The cursor of the outbox relay. One row.';
comment on column relay.only_row is 'Always true.';
comment on column relay.xid is 'The transaction of the last line that the broker confirmed.';
comment on column relay.seq is 'The sequence number of that line.';
comment on column relay.xid_shift is
    'Added to this server''s transaction numbers. After a dump is restored on a server that has run fewer '
    'transactions, new lines would otherwise have lower numbers than published ones, and the relay would never see them.';
comment on column relay.pruned_before is
    'Lines recorded before this moment may have been pruned after they were published. Null: nothing has been pruned.';
comment on column relay.epoch is
    'The epoch of the numbers of changes: milliseconds since 1970 when it began, then six random digits. It is part of the id of '
    'each published change. A store that was restored from a backup starts a new epoch, because it reassigns numbers that '
    'subscribers know.';

-- Policies.

create table policies (
    effective_from timestamptz primary key,
    policy         json not null
);
comment on table policies is 'Every recorded policy.';
comment on column policies.effective_from is 'The moment from which it is effective.';
comment on column policies.policy is 'Its durations and thresholds.';

create table deadline_backfill (
    only_row    boolean primary key default true check (only_row),
    policy_from timestamptz not null,
    partner     text collate "C",
    client      text collate "C"
);
comment on table deadline_backfill is 'The policy whose deadlines are still being computed. At most one row.';
comment on column deadline_backfill.only_row is 'Always true.';
comment on column deadline_backfill.policy_from is 'The moment from which the policy is effective.';
comment on column deadline_backfill.partner is 'The partner of the last client whose deadlines are computed. Null: none are yet.';
comment on column deadline_backfill.client is 'The last client whose deadlines are computed. Null: none are yet.';

-- Dead letters.

create table dead_letters (
    id              bigint generated always as identity primary key,
    digest          bytea not null unique,
    origin          text not null,
    content_type    text,
    -- Text: a header may contain what `json` rejects.
    headers         text not null,
    body            bytea not null,
    bytes           bigint not null,
    reason          text not null,
    status          text not null check (status in ('open', 'redriven', 'discarded')),
    times_seen      bigint not null,
    first_seen_at   timestamptz not null,
    last_seen_at    timestamptz not null,
    retry_at        timestamptz,
    claimed_until   timestamptz,
    redriven_at     timestamptz,
    redrive_outcome text,
    resolved_at     timestamptz
);
create index dead_letters_open on dead_letters (id) where status = 'open';
create index dead_letters_resolved on dead_letters (resolved_at) where status <> 'open';
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;
comment on table dead_letters is
    'Messages that are not valid events, and events that are ahead of the clock or have the id of another event.';
comment on column dead_letters.id is 'Its number.';
comment on column dead_letters.digest is
    'SHA-256 of the parts that identify it. Messages with the same digest are one dead letter.';
comment on column dead_letters.origin is 'Where the message came from.';
comment on column dead_letters.content_type is 'Its content type.';
comment on column dead_letters.headers is 'Its headers, as JSON.';
comment on column dead_letters.body is 'Its body, truncated if it is long.';
comment on column dead_letters.bytes is 'The length of the body as received.';
comment on column dead_letters.reason is 'Why it is a dead letter.';
comment on column dead_letters.status is '`open`, `redriven` or `discarded`.';
comment on column dead_letters.times_seen is 'How often it was received.';
comment on column dead_letters.first_seen_at is 'When it was first received.';
comment on column dead_letters.last_seen_at is 'When it was last received.';
comment on column dead_letters.retry_at is
    'When it is redriven automatically, because its event was ahead of the clock. Null: it waits for an operator.';
comment on column dead_letters.claimed_until is 'Until when a redrive in progress has claimed it.';
comment on column dead_letters.redriven_at is 'When it was last redriven.';
comment on column dead_letters.redrive_outcome is 'The outcome of its last redrive, in words.';
comment on column dead_letters.resolved_at is 'When it was redriven successfully, or discarded.';

-- Sweeps.

create table sweep_runs (
    id           bigint generated always as identity primary key,
    sweep        text not null,
    scheduled_at timestamptz not null,
    started_at   timestamptz not null,
    finished_at  timestamptz,
    upto         timestamptz,
    status       text not null check (status in ('running', 'done', 'failed', 'held_back', 'tripped', 'stopped')),
    examined     bigint not null default 0,
    changed      bigint not null default 0,
    changes      bigint not null default 0,
    failed       bigint not null default 0,
    error        text,
    worker       text not null,
    unique (sweep, scheduled_at)
);
comment on table sweep_runs is 'The runs of sweeps. A run is done when one worker has completed it.';
comment on column sweep_runs.id is 'Its number.';
comment on column sweep_runs.sweep is 'The sweep.';
comment on column sweep_runs.scheduled_at is 'The cron tick of the run.';
comment on column sweep_runs.started_at is 'When the first worker started it.';
comment on column sweep_runs.finished_at is 'When the last worker ended its part.';
comment on column sweep_runs.upto is 'It swept deadlines up to this moment.';
comment on column sweep_runs.status is '`running`, `done`, `failed`, `held_back`, `tripped` or `stopped`.';
comment on column sweep_runs.examined is 'Clients examined.';
comment on column sweep_runs.changed is 'Clients for which a timer fired.';
comment on column sweep_runs.changes is 'Lines written to the journal.';
comment on column sweep_runs.failed is 'Clients that could not be swept.';
comment on column sweep_runs.error is 'Why the run is not done.';
comment on column sweep_runs.worker is 'The worker that started it.';

create table sweep_chunks (
    run bigint not null references sweep_runs on delete cascade,
    xid bigint not null,
    primary key (run, xid)
);
comment on table sweep_chunks is
    'The transactions in which runs of sweeps changed clients, so that the lines of a run are found in the journal.';
comment on column sweep_chunks.run is 'The number of the run.';
comment on column sweep_chunks.xid is 'The transaction, numbered as `journal.xid`.';

create table sweep_halts (
    sweep text collate "C" not null,
    kind  text collate "C" not null check (kind in ('paused', 'tripped')),
    at    timestamptz not null,
    why   text not null,
    primary key (sweep, kind)
);
comment on table sweep_halts is 'Sweeps that do not run: paused by a person, or tripped by the breaker.';
comment on column sweep_halts.sweep is 'The sweep.';
comment on column sweep_halts.kind is '`paused` or `tripped`.';
comment on column sweep_halts.at is 'When it was paused or tripped.';
comment on column sweep_halts.why is 'The reason.';

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

-- Which programs may write (docs/decisions/0009-schema-changes-expand-then-contract.md).

create table schema_compat (
    only_row   boolean primary key default true check (only_row),
    min_writer bigint not null
);
insert into schema_compat (min_writer) values (1);
comment on table schema_compat is 'The oldest program that may write. One row.';
comment on column schema_compat.only_row is 'Always true.';
comment on column schema_compat.min_writer is
    'The newest migration that a program must know in order to write. A migration that adds something every writer must '
    'maintain raises it.';

create function check_writer() returns trigger language plpgsql as $$
declare
    writer   bigint := coalesce(nullif(current_setting('tenure.writer', true), '')::bigint, 0);
    required bigint;
begin
    if current_setting('application_name') <> 'tenure' then
        return null;
    end if;
    -- Held until the transaction ends: a migration that raises the number waits for those that write, and those that write
    -- after it see what it has written.
    lock table schema_compat in access share mode;
    select min_writer into required from schema_compat;
    if writer < required then
        raise exception 'a newer version of tenure has migrated these tables: they need a writer that knows migration %, '
            'and this one knows %; stop this worker and start the newer version', required, writer
            using errcode = '57000';
    end if;
    return null;
end $$;
comment on function check_writer() is
    'Rejects writes of workers that are too old. A worker states in each transaction which migration it knows; a worker that '
    'states none is recognized by its application name.';

create trigger check_writer before insert or update on clients
    for each statement execute function check_writer();
create trigger check_writer before insert or update on events
    for each statement execute function check_writer();
create trigger check_writer before insert or update on journal
    for each statement execute function check_writer();
create trigger check_writer before insert or update on touches
    for each statement execute function check_writer();

-- The same with names, for people, tests and reports. Words that are missing show as null.

create view event_log as
select k.partner, k.client, s.source, ref_id(e.ref) as id, t.word as type, e.time,
       case when e.sequence <> '' then substr(e.sequence, 2) end as sequence,
       e.received_at,
       coalesce(nullif(e.data, ''), '{}')::json as data,
       case e.reason when 0 then 'applied' else 'refused' end as outcome,
       r.word as reason,
       e.ref,
       nullif(substr(e.actor, strpos(e.actor, ':') + 1), '') as actor,
       nullif(split_part(e.actor, ':', 1), '') as actorkind
from events e
left join client_keys k on k.number = e.client
left join sources s on s.number = ref_source(e.ref)
left join words t on t.number = e.type
left join words r on r.number = e.reason;
comment on view event_log is 'The event log. It has every event that was applied or refused, except packed touches.';
comment on column event_log.partner is 'The partner''s id.';
comment on column event_log.client is 'The client''s id.';
comment on column event_log.source is 'The source. With the id it identifies the event.';
comment on column event_log.id is 'The id.';
comment on column event_log.type is 'The type.';
comment on column event_log.time is 'When it happened, according to its source.';
comment on column event_log.sequence is 'Orders events of the same time. Null: it has none.';
comment on column event_log.received_at is 'When it was stored.';
comment on column event_log.data is 'Its data, as far as the program understands it.';
comment on column event_log.outcome is '`applied` or `refused`.';
comment on column event_log.reason is 'Why it was refused. Null: it was applied.';
comment on column event_log.actor is 'Who caused it, an id of the source''s own. Null: it did not say.';
comment on column event_log.actorkind is '`partner`, `customer`, `back_office` or `system`. Null: it did not say.';
comment on column event_log.ref is 'Its source and id as the tables have them: see the function `event_ref`.';

create view change_log as
select j.xid, j.seq, k.partner, k.client, c.word as change,
       nullif(j.id, '') as id,
       nullif(j.before, '') as before,
       case j.after when '' then null when '=' then split_part(c.word, '.', 2) else substr(j.after, 2) end as after,
       j.time,
       case
           when j.cause_ref <> '' then json_strip_nulls(json_build_object(
               'source', s.source, 'id', ref_id(j.cause_ref), 'type', w.word,
               'actor', nullif(substr(j.cause_actor, strpos(j.cause_actor, ':') + 1), ''),
               'actorkind', nullif(split_part(j.cause_actor, ':', 1), ''),
               'reason', case when j.cause_reason <> '' then substr(j.cause_reason, 2) end))
           else json_build_object(split_part(w.word, ':', 1), split_part(w.word, ':', 2))
       end as cause,
       j.corrector <> 0 as correction, j.recorded_at,
       nullif(j.data, '')::json as data,
       case
           when j.corrector = 0 then null
           when j.corrector_ref <> '' then json_build_object(
               'source', l.source, 'id', ref_id(j.corrector_ref), 'type', b.word)
           else json_build_object(split_part(b.word, ':', 1), split_part(b.word, ':', 2))
       end as corrected_by
from journal j
left join client_keys k on k.number = j.client
left join words c on c.number = j.change
left join words w on w.number = j.cause
left join words b on b.number = j.corrector
left join sources s on s.number = ref_source(j.cause_ref)
left join sources l on l.number = ref_source(j.corrector_ref);
comment on view change_log is 'The journal: all changes. They are published in the order of `xid` and `seq`.';
comment on column change_log.xid is 'The transaction that wrote the line.';
comment on column change_log.seq is 'Orders the lines of a transaction.';
comment on column change_log.partner is 'The partner''s id.';
comment on column change_log.client is 'The client''s id.';
comment on column change_log.change is 'The type of the change.';
comment on column change_log.id is 'The id of the holding. Null: the change is not about a holding.';
comment on column change_log.before is 'The value before. Null: there was none.';
comment on column change_log.after is 'The value after. Null: there is none.';
comment on column change_log.time is 'When it took effect.';
comment on column change_log.cause is 'What caused it: an event, a timer or a rebuild, as in published changes.';
comment on column change_log.correction is 'Whether it amends what was published before.';
comment on column change_log.recorded_at is 'When it was written.';
comment on column change_log.data is 'What else it changes in the client. Null: nothing.';
comment on column change_log.corrected_by is
    'What made this correction necessary: a late event or a rebuild, as in published changes. Null: it is no correction.';

create view clients_now as
select k.partner, k.client, c.name, c.name_key, c.link, c.service, c.access, c.as_of, c.version, c.doc
from clients c
left join client_keys k on k.number = c.client;
comment on view clients_now is 'The state of each client. Timers that have become due since `as_of` may not have fired yet.';
comment on column clients_now.partner is 'The partner''s id.';
comment on column clients_now.client is 'The client''s id.';
comment on column clients_now.name is 'The partner''s name for the client.';
comment on column clients_now.name_key is 'The form of the name that comparisons use. Null: this client holds no name.';
comment on column clients_now.link is 'The status of the link. Null: the client was never added.';
comment on column clients_now.service is 'The status of the service. Null: the client was never added.';
comment on column clients_now.access is 'The status of the partner''s access.';
comment on column clients_now.as_of is 'The moment that the state is computed for.';
comment on column clients_now.version is 'The number of times that the row was written.';
comment on column clients_now.doc is 'The client''s document: its state and its deadlines.';

create view deadlines_now as
select k.partner, k.client, w.word as sweep, d.due_at
from deadlines d
left join client_keys k on k.number = d.client
left join words w on w.number = d.sweep;
comment on view deadlines_now is 'The deadlines of each client.';
comment on column deadlines_now.partner is 'The partner''s id.';
comment on column deadlines_now.client is 'The client''s id.';
comment on column deadlines_now.sweep is 'The sweep.';
comment on column deadlines_now.due_at is 'The earliest moment at which the sweep may have to fire a timer of this client.';

create view subscriptions as
select c.partner, c.client, s.key as id,
       s.value -> 'state' ->> 'status' as status,
       s.value ->> 'managed_by' as managed_by,
       s.value ->> 'plan' as plan,
       (s.value ->> 'paid_until')::timestamptz as paid_until,
       (s.value -> 'state' ->> 'ended_at')::timestamptz as ended_at
from clients_now c
cross join lateral json_each(c.doc -> 'client' -> 'subscriptions') s;
comment on view subscriptions is 'The subscriptions of each client.';
comment on column subscriptions.partner is 'The partner''s id.';
comment on column subscriptions.client is 'The client''s id.';
comment on column subscriptions.id is 'The subscription''s id.';
comment on column subscriptions.status is '`prepared`, `active` or `ended`.';
comment on column subscriptions.managed_by is 'Who manages and pays for it: `partner` or `client`.';
comment on column subscriptions.plan is 'Its plan.';
comment on column subscriptions.paid_until is 'The end of the period that is paid for.';
comment on column subscriptions.ended_at is 'When it ended.';

create view assignments as
select c.partner, c.client, a.key as id, a.value #>> '{}' as service
from clients_now c
cross join lateral json_each(c.doc -> 'client' -> 'assignments') a;
comment on view assignments is 'The assignments of each client.';
comment on column assignments.partner is 'The partner''s id.';
comment on column assignments.client is 'The client''s id.';
comment on column assignments.id is 'The assignment''s id.';
comment on column assignments.service is 'The service that the client is assigned to.';

create view report_schedules as
select c.partner, c.client, r.value as id
from clients_now c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'report_schedules') r;
comment on view report_schedules is 'The report schedules of each client.';
comment on column report_schedules.partner is 'The partner''s id.';
comment on column report_schedules.client is 'The client''s id.';
comment on column report_schedules.id is 'The report schedule''s id.';

create view margin_rules as
select c.partner, c.client, r.value as id
from clients_now c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'margin_rules') r;
comment on view margin_rules is 'The margin rules of each client.';
comment on column margin_rules.partner is 'The partner''s id.';
comment on column margin_rules.client is 'The client''s id.';
comment on column margin_rules.id is 'The margin rule''s id.';
