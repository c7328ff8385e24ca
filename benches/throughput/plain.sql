-- The tables that an engineer would make in an afternoon: a client's two ids in each row and index, and no numbers. The
-- statements of `bare_batch` and `per_message` write to them. They take the place of Tenure's in a copy of the town, with all
-- of its rows. The views have the names of Tenure's, so that the same queries count the rows of both.

create schema plain;

create table plain.clients (
    partner  text collate "C" not null,
    client   text collate "C" not null,
    name     text,
    name_key text collate "C",
    link     text,
    service  text,
    access   text not null,
    as_of    timestamptz,
    version  bigint not null,
    doc      json not null,
    primary key (partner, client),
    constraint clients_name_is_unique unique (partner, name_key) deferrable initially immediate
) with (fillfactor = 70);
insert into plain.clients
select partner, client, name, name_key, link, service, access, as_of, version, doc
from clients_now
order by partner, client;

create table plain.events (
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
create index events_of_client on plain.events (partner, client);
insert into plain.events
select source, id, partner, client, type, time, sequence, received_at, data, outcome, reason
from event_log;

create table plain.journal (
    xid         bigint not null,
    seq         bigint generated always as identity,
    partner     text collate "C" not null,
    client      text collate "C" not null,
    change      text not null,
    id          text,
    before      text,
    after       text,
    time        timestamptz not null,
    cause       json not null,
    correction  boolean not null,
    recorded_at timestamptz not null,
    primary key (xid, seq)
);
create index journal_of_client on plain.journal (partner, client, seq);
insert into plain.journal (xid, partner, client, change, id, before, after, time, cause, correction, recorded_at)
select xid, partner, client, change, id, before, after, time, cause, correction, recorded_at
from change_log
order by xid, seq;

create table plain.deadlines (
    partner text collate "C" not null,
    client  text collate "C" not null,
    sweep   text collate "C" not null,
    due_at  timestamptz not null,
    primary key (partner, client, sweep)
);
create index deadlines_due on plain.deadlines (sweep, due_at, partner, client);
insert into plain.deadlines
select partner, client, sweep, due_at
from deadlines_now;

drop schema public cascade;
alter schema plain rename to public;
create view clients_now as select * from clients;
create view event_log as select * from events;
create view change_log as select * from journal;
create view deadlines_now as select * from deadlines;
