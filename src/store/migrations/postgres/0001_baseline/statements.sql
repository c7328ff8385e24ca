-- Statements: the months that were closed, and what was stated of each client.

create table closings (
    month         integer primary key,
    status        text not null check (status in ('in_progress', 'closed')),
    closed_by     text not null,
    started_at    timestamptz not null,
    closed_at     timestamptz,
    claim         text not null default '',
    claimed_until timestamptz,
    partner       text collate "C",
    client        text collate "C",
    statements    bigint not null default 0,
    adjustments   bigint not null default 0
);
-- At most one month is being closed.
create unique index closings_in_progress on closings (status) where status = 'in_progress';
comment on table closings is 'The months whose statements were closed, and the one that is being closed.';
comment on column closings.month is 'The month, as a number: 202610 is October 2026.';
comment on column closings.status is '`in_progress` or `closed`.';
comment on column closings.closed_by is 'Who closed it.';
comment on column closings.started_at is 'When the closing began.';
comment on column closings.closed_at is 'When it ended. Null: it is in progress.';
comment on column closings.claim is 'Identifies the process that is closing the month. Empty: none is.';
comment on column closings.claimed_until is 'Until when no other process continues the closing. Null: any may.';
comment on column closings.partner is 'The partner of the last client that the closing has stated. Null: it has stated none, or has ended.';
comment on column closings.client is 'The last client that the closing has stated. Null: it has stated none, or has ended.';
comment on column closings.statements is 'Clients with a day in the month.';
comment on column closings.adjustments is 'Adjustments of earlier months that are stated with this one.';

create table statement_days (
    client        integer not null,
    month         integer not null,
    stated_in     integer not null,
    billable      integer not null,
    commission    integer not null,
    status_credit integer not null,
    access        integer not null,
    intervals     text not null,
    causes        text not null,
    primary key (client, month, stated_in)
);
comment on table statement_days is
    'The days of a client in a month, as stated when the month was closed, and again with each later month that adjusts them. '
    'A client without a row had no days.';
comment on column statement_days.client is 'The number of the client.';
comment on column statement_days.month is 'The month of the days, as `closings.month`.';
comment on column statement_days.stated_in is
    'The month whose statement has the row, as `closings.month`: the month itself, or a later one, which adjusts it.';
comment on column statement_days.billable is 'The days on which the client was billable: bit 0 is the first day of the month.';
comment on column statement_days.commission is 'The days of commission.';
comment on column statement_days.status_credit is 'The days of status credit.';
comment on column statement_days.access is 'The days on which access was enabled.';
comment on column statement_days.intervals is
    'The intervals by measure, as JSON: pairs of microseconds since 1970. A measure that was on for the whole month, or never, is '
    'absent. Empty: all are.';
comment on column statement_days.causes is
    'The late events or rebuilds that made an adjustment necessary, as JSON. Empty: it is no adjustment, or none is known.';
