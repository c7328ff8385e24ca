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
    -- Not by client first: a name is unique within its partner. Deferrable, so that it is checked at the end of a statement: two
    -- clients may swap names in one.
    constraint clients_name_is_unique unique (partner, name_key) deferrable initially immediate
) with (fillfactor = 70);
-- Finds the clients of an account, and lists them in pages.
create index clients_by_account on clients (account, partner, client) where account <> '';
-- Finds clients of any partner by the beginning of their names.
create index clients_by_name on clients (name_key, partner) where name_key is not null;
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
-- A sweep reads its deadlines in this order, in pages.
create index deadlines_due on deadlines (sweep, due_at, client);
comment on table deadlines is 'The earliest moment at which a sweep may have to fire a timer of a client.';
comment on column deadlines.due_at is 'The moment.';
comment on column deadlines.client is 'The number of the client.';
comment on column deadlines.sweep is 'The sweep, as a word.';
