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
    took_effect_at integer primary key,
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
    settled_at    integer
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
