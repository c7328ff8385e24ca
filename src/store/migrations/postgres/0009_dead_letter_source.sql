-- The source of a dead letter, by which people group them. Older writers leave it null.

alter table dead_letters add column source text;
comment on column dead_letters.source is
    'The `source` of its event. Null: the message names none that can be read, or an earlier version stored it.';
