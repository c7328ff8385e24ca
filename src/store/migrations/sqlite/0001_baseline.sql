-- Times are whole microseconds since 1970-01-01 UTC. Text is compared by bytes.

create table clients (
    partner  text not null,
    client   text not null,
    name     text,
    -- What the name is compared by; null when this client holds no name against others.
    name_key text,
    link     text,
    service  text,
    access   text not null,
    as_of    integer,
    version  integer not null,
    doc      text not null,
    primary key (partner, client)
) strict;
create unique index clients_name on clients (partner, name_key) where name_key is not null;

create table events (
    source      text not null,
    id          text not null,
    partner     text not null,
    client      text not null,
    type        text not null,
    time        integer not null,
    sequence    text,
    received_at integer not null,
    data        text not null,
    outcome     text not null check (outcome in ('applied', 'refused')),
    reason      text check ((reason is null) = (outcome = 'applied')),
    primary key (source, id)
) strict;
create index events_of_client on events (partner, client);

create table journal (
    -- Never given out twice, as the relay's cursor points to it.
    seq         integer primary key autoincrement,
    partner     text not null,
    client      text not null,
    change      text not null,
    -- The holding that it is about.
    id          text,
    before      text,
    after       text,
    time        integer not null,
    cause       text not null,
    correction  integer not null,
    recorded_at integer not null
) strict;
create index journal_of_client on journal (partner, client, seq);

create table relay (
    only_row integer primary key default 1 check (only_row = 1),
    -- The last line of the journal that the broker confirmed.
    seq      integer not null default 0
) strict;
insert into relay default values;

create table deadlines (
    partner text not null,
    client  text not null,
    sweep   text not null,
    due_at  integer not null,
    primary key (partner, client, sweep)
) strict, without rowid;
create index deadlines_due on deadlines (sweep, due_at, partner, client);

create table touches (
    partner  text not null,
    client   text not null,
    open_run blob not null,
    primary key (partner, client)
) strict;

create table touch_runs (
    id       integer primary key,
    partner  text not null,
    client   text not null,
    first_at integer not null,
    run      blob not null
) strict;
create index touch_runs_of_client on touch_runs (partner, client);

create table policies (
    effective_from integer primary key,
    policy         text not null
) strict;

create table dead_letters (
    id            integer primary key autoincrement,
    -- SHA-256 of what makes two letters the same letter.
    digest        blob not null unique,
    origin        text not null,
    content_type  text,
    headers       text not null,
    body          blob not null,
    reason        text not null,
    status        text not null check (status in ('open', 'redriven', 'discarded')),
    times_seen    integer not null,
    first_seen_at integer not null,
    last_seen_at  integer not null,
    resolved_at    integer
) strict;
create index dead_letters_open on dead_letters (id) where status = 'open';

create table sweep_runs (
    id           integer primary key autoincrement,
    sweep        text not null,
    scheduled_at integer not null,
    started_at   integer not null,
    finished_at  integer,
    status       text not null check (status in ('running', 'done', 'failed')),
    examined     integer not null default 0,
    changed      integer not null default 0,
    changes      integer not null default 0,
    failed       integer not null default 0,
    error        text,
    worker       text not null,
    -- How many workers are at it.
    workers      integer not null default 1,
    unique (sweep, scheduled_at)
) strict;

-- Holdings, to be asked for in SQL. Times in them are RFC 3339, as in the document.

create view subscriptions as
select c.partner, c.client, s.key as id,
       s.value ->> '$.state.status' as status,
       s.value ->> '$.managed_by' as managed_by,
       s.value ->> '$.plan' as plan,
       s.value ->> '$.paid_until' as paid_until,
       s.value ->> '$.state.ended_at' as ended_at
from clients c, json_each(c.doc, '$.client.subscriptions') s;

create view assignments as
select c.partner, c.client, a.key as id, a.value as service
from clients c, json_each(c.doc, '$.client.assignments') a;

create view report_schedules as
select c.partner, c.client, r.value as id
from clients c, json_each(c.doc, '$.client.report_schedules') r;

create view margin_rules as
select c.partner, c.client, r.value as id
from clients c, json_each(c.doc, '$.client.margin_rules') r;
-- How far each lane of the broker has come: everything that was in its queue before the watermark has been taken.
create table lanes (
    -- The queue.
    lane        text primary key,
    -- Null: not known yet.
    watermark   integer,
    recorded_at integer not null
) strict;

-- Sweeps that do not run: paused by a person, or stopped by the breaker.
create table sweep_halts (
    sweep text not null,
    kind  text not null check (kind in ('paused', 'tripped')),
    at    integer not null,
    why   text not null,
    primary key (sweep, kind)
) strict;

-- The policy whose deadlines are still being computed, and the client after which to go on.
create table deadline_backfill (
    only_row    integer primary key default 1 check (only_row = 1),
    policy_from integer not null,
    partner     text,
    client      text
) strict;

-- The moment up to which a run swept.
alter table sweep_runs add column upto integer;
-- A run is done when one worker has seen it through: nobody has to be counted.
alter table sweep_runs drop column workers;
-- Journal lines recorded before this moment may be gone: they were published, and then pruned. Null: none is.
alter table relay add column pruned_before integer;

create index dead_letters_settled on dead_letters (resolved_at) where status <> 'open';

-- Length of the body as it came; null for letters from before, which are whole.
alter table dead_letters add column bytes integer;
-- Until when somebody who redrives it has it in hand.
alter table dead_letters add column claimed_until integer;
-- When it was last redriven, and what came of that, in words.
alter table dead_letters add column redriven_at integer;
alter table dead_letters add column redrive_outcome text;
-- A stretch of time in which a touch renews this client's access and does nothing else, under so many recorded
-- policies: the client need not be read for it. Null: none is known.
alter table touches add column renew_after integer;
alter table touches add column renew_before integer;
alter table touches add column renew_policies integer;
-- The epoch in which changes are numbered: milliseconds since 1970 when it began, then six random digits. Part of the id of
-- each change that is published from now on. A store that was restored from a backup begins a new one, as it gives out
-- numbers again that subscribers know already.
alter table relay add column epoch integer not null default 0;
update relay
set epoch = cast(unixepoch('now', 'subsec') * 1000 as integer) * 1000000 + abs(random() % 1000000);

-- The oldest program that may write: the newest migration that it must know. A migration after which older programs would
-- leave something out raises it (docs/decisions/, on schema changes).
create table schema_compat (
    only_row   integer primary key default 1 check (only_row = 1),
    min_writer integer not null
) strict;
insert into schema_compat (min_writer) values (5);
-- The latest moment at which a worker let timers fire. When it lies ahead, some worker's clock was wrong.
create table clock (
    only_row integer primary key default 1 check (only_row = 1),
    latest   integer not null
) strict;

-- When a dead letter is read again by itself: its event was ahead of the clock. Null: it waits for a person.
alter table dead_letters add column retry_at integer;
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;
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
