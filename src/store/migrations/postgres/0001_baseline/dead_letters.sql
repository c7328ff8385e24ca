-- Dead letters.

create table dead_letters (
    id              bigint generated always as identity primary key,
    digest          bytea not null unique,
    origin          text not null,
    source          text,
    content_type    text,
    -- Text: a header may contain what `json` rejects.
    headers         text not null,
    body            bytea not null,
    bytes           bigint not null,
    reason          text not null,
    status          text not null check (status in ('open', 'redriven', 'discarded')),
    times_seen      bigint not null,
    first_seen_at   timestamptz not null,
    last_seen_at    timestamptz not null,
    retry_at        timestamptz,
    claimed_until   timestamptz,
    redriven_at     timestamptz,
    redrive_outcome text,
    resolved_at     timestamptz
);
-- Counts and lists the open ones without reading the resolved ones.
create index dead_letters_open on dead_letters (id) where status = 'open';
-- Retention removes those that were resolved first.
create index dead_letters_resolved on dead_letters (resolved_at) where status <> 'open';
-- Those that are redriven automatically are claimed in this order once they are due.
create index dead_letters_deferred on dead_letters (retry_at) where status = 'open' and retry_at is not null;
comment on table dead_letters is
    'Messages that are not valid events, and events that are ahead of the clock or have the id of another event.';
comment on column dead_letters.id is 'Its number.';
comment on column dead_letters.digest is
    'SHA-256 of the parts that identify it. Messages with the same digest are one dead letter.';
comment on column dead_letters.origin is 'Where the message came from.';
comment on column dead_letters.source is 'The `source` of its event. Null: the message names none that can be read.';
comment on column dead_letters.content_type is 'Its content type.';
comment on column dead_letters.headers is 'Its headers, as JSON.';
comment on column dead_letters.body is 'Its body, truncated if it is long.';
comment on column dead_letters.bytes is 'The length of the body as received.';
comment on column dead_letters.reason is 'Why it is a dead letter.';
comment on column dead_letters.status is '`open`, `redriven` or `discarded`.';
comment on column dead_letters.times_seen is 'How often it was received.';
comment on column dead_letters.first_seen_at is 'When it was first received.';
comment on column dead_letters.last_seen_at is 'When it was last received.';
comment on column dead_letters.retry_at is
    'When it is redriven automatically, because its event was ahead of the clock. Null: it waits for an operator.';
comment on column dead_letters.claimed_until is 'Until when a redrive in progress has claimed it.';
comment on column dead_letters.redriven_at is 'When it was last redriven.';
comment on column dead_letters.redrive_outcome is 'The outcome of its last redrive, in words.';
comment on column dead_letters.resolved_at is 'When it was redriven successfully, or discarded.';
