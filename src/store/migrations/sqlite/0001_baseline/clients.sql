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
-- Finds the clients of an account, and lists them in pages.
create index clients_by_account on clients (account, partner, client) where account <> '';
-- Finds clients of any partner by the beginning of their names.
create index clients_by_name on clients (name_key, partner) where name_key is not null;
-- Not by client first: a name is unique within its partner.
create unique index clients_name on clients (partner, name_key) where name_key is not null;

create table deadlines (
    client integer not null,
    sweep  integer not null,
    due_at integer not null,
    primary key (client, sweep)
) strict, without rowid;
-- A sweep reads its deadlines in this order, in pages.
create index deadlines_due on deadlines (sweep, due_at, client);
