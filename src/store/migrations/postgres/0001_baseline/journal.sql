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
-- The relay, the feed and retention read in this order. It grows at its end only, so its pages can be full.
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
    epoch         bigint not null,
    pruned_before timestamptz,
    -- The last line that was pruned: a subscriber that has it misses nothing.
    pruned_xid    bigint,
    pruned_seq    bigint,
    pruned_recorded_at timestamptz
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
comment on column relay.epoch is
    'The epoch of the numbers of changes: milliseconds since 1970 when it began, then six random digits. It is part of the id of '
    'each published change. A store that was restored from a backup starts a new epoch, because it reassigns numbers that '
    'subscribers know.';
comment on column relay.pruned_before is
    'Lines recorded before this moment may have been pruned after they were published. Null: nothing has been pruned.';
comment on column relay.pruned_xid is
    'The transaction of the last line of the journal that was pruned. Null: it is not known, or nothing has been pruned.';
comment on column relay.pruned_seq is 'The sequence number of that line.';
comment on column relay.pruned_recorded_at is 'When that line was recorded.';
