-- Keys are compared by bytes (collate "C"): locks are taken in the order in which the program sorts keys,
-- and paging goes on where the program thinks it stopped, whatever the database's own language.

create table clients (
    partner      text collate "C" not null,
    client       text collate "C" not null,
    name         text,
    -- What the name is compared by; null when this client holds no name against others.
    name_key     text collate "C",
    link         text,
    service      text,
    access       text not null,
    as_of        timestamptz,
    version      bigint not null,
    -- The transaction that last wrote a line of this client to the journal, numbered as there.
    journaled_by bigint not null default 0,
    doc          json not null,
    primary key (partner, client),
    -- Deferrable, so that it is checked at the end of a statement: two clients may swap names in one.
    constraint clients_name_is_unique unique (partner, name_key) deferrable initially immediate
) with (fillfactor = 70);

create table events (
    source      text collate "C" not null,
    id          text collate "C" not null,
    partner     text collate "C" not null,
    client      text collate "C" not null,
    type        text not null,
    time        timestamptz not null,
    sequence    text,
    received_at timestamptz not null,
    data        json not null,
    outcome     text not null check (outcome in ('applied', 'refused')),
    reason      text check ((reason is null) = (outcome = 'applied')),
    primary key (source, id)
);
create index events_of_client on events (partner, client);

create table journal (
    -- The transaction that wrote the line: `pg_current_xact_id()`, shifted (see `relay`).
    xid         bigint not null,
    seq         bigint generated always as identity,
    partner     text collate "C" not null,
    client      text collate "C" not null,
    change      text not null,
    -- The holding that it is about.
    id          text,
    before      text,
    after       text,
    time        timestamptz not null,
    cause       json not null,
    correction  boolean not null,
    recorded_at timestamptz not null,
    primary key (xid, seq)
);
create index journal_of_client on journal (partner, client, seq);

create table relay (
    only_row  boolean primary key default true check (only_row),
    -- The last line of the journal that the broker confirmed.
    xid       bigint not null default 0,
    seq       bigint not null default 0,
    -- What is added to this server's transaction numbers. A dump restored on a younger server would
    -- otherwise go on with lower numbers than its journal ends with, and the relay would never see them.
    xid_shift bigint not null default 0
);
insert into relay default values;

create table deadlines (
    partner text collate "C" not null,
    client  text collate "C" not null,
    sweep   text collate "C" not null,
    due_at  timestamptz not null,
    primary key (partner, client, sweep)
);
create index deadlines_due on deadlines (sweep, due_at, partner, client);

-- The hottest table: a row is rewritten in place, beside its older self on the same page.
create table touches (
    partner  text collate "C" not null,
    client   text collate "C" not null,
    open_run bytea not null,
    primary key (partner, client)
) with (fillfactor = 50);

create table touch_runs (
    id       bigint generated always as identity primary key,
    partner  text collate "C" not null,
    client   text collate "C" not null,
    first_at timestamptz not null,
    run      bytea not null
);
create index touch_runs_of_client on touch_runs (partner, client);

create table policies (
    took_effect_at timestamptz primary key,
    policy         json not null
);

create table dead_letters (
    id            bigint generated always as identity primary key,
    -- SHA-256 of what makes two letters the same letter.
    digest        bytea not null unique,
    origin        text not null,
    content_type  text,
    -- JSON as text: a header may hold what `json` refuses to look into.
    headers       text not null,
    body          bytea not null,
    reason        text not null,
    status        text not null check (status in ('open', 'redriven', 'discarded')),
    times_seen    bigint not null,
    first_seen_at timestamptz not null,
    last_seen_at  timestamptz not null,
    settled_at    timestamptz
);
create index dead_letters_open on dead_letters (id) where status = 'open';

create table sweep_runs (
    id           bigint generated always as identity primary key,
    sweep        text not null,
    scheduled_at timestamptz not null,
    started_at   timestamptz not null,
    finished_at  timestamptz,
    status       text not null check (status in ('running', 'done', 'failed')),
    examined     bigint not null default 0,
    changed      bigint not null default 0,
    changes      bigint not null default 0,
    failed       bigint not null default 0,
    error        text,
    worker       text not null,
    -- How many workers are at it.
    workers      bigint not null default 1,
    unique (sweep, scheduled_at)
);

-- Holdings, to be asked for in SQL.

create view subscriptions as
select c.partner, c.client, s.key as id,
       s.value -> 'state' ->> 'status' as status,
       s.value ->> 'managed_by' as managed_by,
       s.value ->> 'plan' as plan,
       (s.value ->> 'paid_until')::timestamptz as paid_until,
       (s.value -> 'state' ->> 'ended_at')::timestamptz as ended_at
from clients c
cross join lateral json_each(c.doc -> 'client' -> 'subscriptions') s;

create view assignments as
select c.partner, c.client, a.key as id, a.value #>> '{}' as service
from clients c
cross join lateral json_each(c.doc -> 'client' -> 'assignments') a;

create view report_schedules as
select c.partner, c.client, r.value as id
from clients c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'report_schedules') r;

create view margin_rules as
select c.partner, c.client, r.value as id
from clients c
cross join lateral json_array_elements_text(c.doc -> 'client' -> 'margin_rules') r;
