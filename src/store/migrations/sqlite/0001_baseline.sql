-- The tables of a SQLite store.
--
-- Texts that repeat in every row are numbers here: see client_keys, sources and words. The views at the end show the texts.
-- Times are whole microseconds since 1970-01-01 UTC. Text is compared by bytes. '' stands for an absent text where a column
-- cannot be null.
--
-- docs/schema.md describes all tables, views and columns. The descriptions are the comments in the tables of PostgreSQL, and,
-- for a column that only SQLite has, the comment above it here.

-- Dictionaries. Rows are only ever added, before the rows that use their numbers. The other tables have no foreign keys to
-- them: SQLite would look up each number again for each row.

create table client_keys (
    number  integer primary key,
    partner text not null,
    client  text not null,
    unique (partner, client)
) strict;

create table sources (
    number integer primary key,
    source text not null unique
) strict;

create table words (
    number integer primary key,
    word   text not null unique
) strict;

-- The state of the clients, and their history.

create table clients (
    client   integer primary key,
    partner  text not null,
    name     text,
    name_key text,
    link     text,
    service  text,
    access   text not null,
    as_of    integer,
    version  integer not null,
    doc      text not null,
    account  text not null default ''
) strict;
create index clients_by_account on clients (account, partner, client) where account <> '';
-- Not by client first: a name is unique within its partner.
create unique index clients_name on clients (partner, name_key) where name_key is not null;

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
-- Finds an event that arrives again, with another time or for another client too.
create unique index events_by_id on events (id, source);
-- Lists refusals in order of time. An event that is applied has no entry.
create index events_refused on events (time, client, source, id) where reason <> 0;

-- A number is never assigned twice, because the relay's cursor points to it.
create table journal (
    seq          integer primary key autoincrement,
    client       integer not null,
    time         integer not null,
    recorded_at  integer not null,
    change       integer not null,
    cause        integer not null,
    -- The number of the source of the event that caused the change. 0: no event caused it.
    cause_source integer not null,
    -- The id of that event, as in `events`. '': no event caused the change.
    cause_id     any not null,
    cause_actor  text not null,
    cause_reason text not null,
    corrector    integer not null,
    -- The number of the source of the late event that made a correction necessary. 0: no late event did.
    corrector_source integer not null,
    -- The id of that event, as in `events`. '': no late event made it necessary.
    corrector_id any not null,
    id           text not null,
    before       text not null,
    after        text not null,
    data         text not null
) strict;
-- Its entries end with seq.
create index journal_of_client on journal (client);

create table deadlines (
    client integer not null,
    sweep  integer not null,
    due_at integer not null,
    primary key (client, sweep)
) strict, without rowid;
create index deadlines_due on deadlines (sweep, due_at, client);

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

-- Publishing.

create table relay (
    only_row      integer primary key default 1 check (only_row = 1),
    seq           integer not null default 0,
    epoch         integer not null,
    pruned_before integer
) strict;
insert into relay (epoch)
values (cast(unixepoch('now', 'subsec') * 1000 as integer) * 1000000 + abs(random() % 1000000));

-- Policies, sweeps, lanes and sources.

create table policies (
    effective_from integer primary key,
    policy         text not null
) strict;

create table deadline_backfill (
    only_row    integer primary key default 1 check (only_row = 1),
    policy_from integer not null,
    partner     text,
    client      text
) strict;

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

-- Dead letters.

create table dead_letters (
    id              integer primary key autoincrement,
    digest          blob not null unique,
    origin          text not null,
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
create index dead_letters_open on dead_letters (id) where status = 'open';
create index dead_letters_resolved on dead_letters (resolved_at) where status <> 'open';
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;

-- The store itself.

create table clock (
    only_row integer primary key default 1 check (only_row = 1),
    latest   integer not null
) strict;

create table write_probe (
    only_row   integer primary key default 1 check (only_row = 1),
    written_at integer not null
) strict;
insert into write_probe (written_at) values (0);

create table schema_compat (
    only_row   integer primary key default 1 check (only_row = 1),
    min_writer integer not null
) strict;
insert into schema_compat (min_writer) values (1);

-- The same with names, times in RFC 3339, and null for an absent text. Words that are missing show as null.

create view event_log
    (partner, client, source, id, type, time, sequence, received_at, data, outcome, reason, actor, actorkind) as
select k.partner, k.client,
       s.source,
       case typeof(e.id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(e.id)), 1, 8), substr(lower(hex(e.id)), 9, 4), substr(lower(hex(e.id)), 13, 4),
                       substr(lower(hex(e.id)), 17, 4), substr(lower(hex(e.id)), 21))
           else e.id end,
       t.word,
       strftime('%Y-%m-%dT%H:%M:%S', (e.time - 999999 * (e.time < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (e.time % 1000000 + 1000000) % 1000000),
       case when e.sequence <> '' then substr(e.sequence, 2) end,
       strftime('%Y-%m-%dT%H:%M:%S', (e.received_at - 999999 * (e.received_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (e.received_at % 1000000 + 1000000) % 1000000),
       case e.data when '' then '{}' else e.data end,
       case e.reason when 0 then 'applied' else 'refused' end,
       r.word,
       nullif(substr(e.actor, instr(e.actor, ':') + 1), ''),
       nullif(substr(e.actor, 1, instr(e.actor, ':') - 1), '')
from events e
left join client_keys k on k.number = e.client
left join sources s on s.number = e.source
left join words t on t.number = e.type
left join words r on r.number = e.reason;

create view change_log
    (seq, partner, client, change, id, before, after, time, cause, correction, recorded_at, data, corrected_by) as
select j.seq, k.partner, k.client,
       w.word,
       nullif(j.id, ''),
       nullif(j.before, ''),
       case j.after when '' then null
                    when '=' then substr(w.word, instr(w.word, '.') + 1)
                    else substr(j.after, 2) end,
       strftime('%Y-%m-%dT%H:%M:%S', (j.time - 999999 * (j.time < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (j.time % 1000000 + 1000000) % 1000000),
       case when j.cause_id <> '' then
                json_patch('{}', json_object('source', s.source,
                            'id', case typeof(j.cause_id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(j.cause_id)), 1, 8), substr(lower(hex(j.cause_id)), 9, 4), substr(lower(hex(j.cause_id)), 13, 4),
                       substr(lower(hex(j.cause_id)), 17, 4), substr(lower(hex(j.cause_id)), 21))
           else j.cause_id end,
                            'type', c.word,
                            -- A patch of an empty object leaves out what is null.
                            'actor', nullif(substr(j.cause_actor, instr(j.cause_actor, ':') + 1), ''),
                            'actorkind', nullif(substr(j.cause_actor, 1, instr(j.cause_actor, ':') - 1), ''),
                            'reason', case when j.cause_reason <> '' then substr(j.cause_reason, 2) end))
            -- `timer:access_expiry` or `rebuild:state`.
            else json_object(substr(c.word, 1, instr(c.word, ':') - 1), substr(c.word, instr(c.word, ':') + 1)) end,
       j.corrector <> 0,
       strftime('%Y-%m-%dT%H:%M:%S', (j.recorded_at - 999999 * (j.recorded_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (j.recorded_at % 1000000 + 1000000) % 1000000),
       nullif(j.data, ''),
       case when j.corrector = 0 then null
            when j.corrector_id <> '' then
                json_object('source', l.source,
                            'id', case typeof(j.corrector_id) when 'blob'
           then printf('%s-%s-%s-%s-%s', substr(lower(hex(j.corrector_id)), 1, 8), substr(lower(hex(j.corrector_id)), 9, 4), substr(lower(hex(j.corrector_id)), 13, 4),
                       substr(lower(hex(j.corrector_id)), 17, 4), substr(lower(hex(j.corrector_id)), 21))
           else j.corrector_id end,
                            'type', b.word)
            else json_object(substr(b.word, 1, instr(b.word, ':') - 1), substr(b.word, instr(b.word, ':') + 1)) end
from journal j
left join client_keys k on k.number = j.client
left join words w on w.number = j.change
left join words c on c.number = j.cause
left join words b on b.number = j.corrector
left join sources s on s.number = j.cause_source
left join sources l on l.number = j.corrector_source;

create view clients_now (partner, client, name, name_key, link, service, access, as_of, version, doc) as
select c.partner, k.client, c.name, c.name_key, c.link, c.service, c.access,
       strftime('%Y-%m-%dT%H:%M:%S', (c.as_of - 999999 * (c.as_of < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (c.as_of % 1000000 + 1000000) % 1000000),
       c.version, c.doc
from clients c
left join client_keys k on k.number = c.client;

create view deadlines_now (partner, client, sweep, due_at) as
select k.partner, k.client,
       w.word,
       strftime('%Y-%m-%dT%H:%M:%S', (d.due_at - 999999 * (d.due_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (d.due_at % 1000000 + 1000000) % 1000000)
from deadlines d
left join client_keys k on k.number = d.client
left join words w on w.number = d.sweep;

create view subscriptions (partner, client, id, status, managed_by, plan, paid_until, ended_at) as
select c.partner, c.client, s.key, s.value ->> '$.state.status', s.value ->> '$.managed_by', s.value ->> '$.plan',
       s.value ->> '$.paid_until', s.value ->> '$.state.ended_at'
from clients_now c, json_each(c.doc, '$.client.subscriptions') s;

create view assignments (partner, client, id, service) as
select c.partner, c.client, a.key, a.value
from clients_now c, json_each(c.doc, '$.client.assignments') a;

create view report_schedules (partner, client, id) as
select c.partner, c.client, r.value
from clients_now c, json_each(c.doc, '$.client.report_schedules') r;

create view margin_rules (partner, client, id) as
select c.partner, c.client, r.value
from clients_now c, json_each(c.doc, '$.client.margin_rules') r;
