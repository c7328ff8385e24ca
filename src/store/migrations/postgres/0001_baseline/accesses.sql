-- The access log (docs/access-log.md). It stays empty while the setting access.log is off.
--
-- An entry needs no row in the event log, which has none for a packed touch. The key ends with the event: an entry of the same
-- event is written once. Retention removes entries by their time, and lists of all clients are in the order of time.

create table accesses (
    time     timestamptz not null,
    client   integer not null,
    reason   smallint not null,
    by_staff boolean not null,
    ref      bytea not null,
    sequence text not null,
    user_id  text not null,
    actor    text not null,
    primary key (client, time, ref)
);
create index accesses_by_time on accesses (time, client, ref);
comment on table accesses is
    'The access log: who entered which account when. The setting `access.log` says for how long entries are stored. While it is '
    'off, none is added.';
comment on column accesses.time is 'When somebody entered, according to the source.';
comment on column accesses.client is 'The number of the client.';
comment on column accesses.reason is
    'Why a touch that was packed is refused since a late event arrived, as a word. 0: it is not. For an event that has a row in '
    '`events`, `events.reason` says it.';
comment on column accesses.by_staff is 'Whether staff of the customer entered, and not the partner.';
comment on column accesses.ref is 'The event `account.accessed`, as `events.ref`.';
comment on column accesses.sequence is 'The sequence of the event, as `events.sequence`.';
comment on column accesses.user_id is 'The `user` in the data of the event. Empty: it has none. Otherwise a colon and the user.';
comment on column accesses.actor is 'The actor of the event, as `events.actor`.';

create table access_log_since (
    only_row boolean primary key default true check (only_row),
    since    timestamptz not null
);
comment on table access_log_since is 'Since when the access log is on. At most one row: none while it is off.';
comment on column access_log_since.only_row is 'Always true.';
comment on column access_log_since.since is 'When the first worker with `access.log` started.';
