-- The last line of the journal that was pruned: a subscriber that has it misses nothing.

alter table relay
    add column pruned_xid bigint,
    add column pruned_seq bigint,
    add column pruned_recorded_at timestamptz,
    add column pruned_with timestamptz;
comment on column relay.pruned_xid is
    'The transaction of the last line of the journal that was pruned. Null: it is not known, or nothing has been pruned.';
comment on column relay.pruned_seq is 'The sequence number of that line.';
comment on column relay.pruned_recorded_at is 'When that line was recorded.';
comment on column relay.pruned_with is
    'The value of `pruned_before` that was written with that line. If `pruned_before` is another, a worker of an earlier version '
    'has pruned since, and the line is not known.';
