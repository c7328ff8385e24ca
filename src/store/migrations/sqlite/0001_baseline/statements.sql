-- Statements: the months that were closed, and what was stated of each client.

create table closings (
    month         integer primary key,
    status        text not null check (status in ('in_progress', 'closed')),
    closed_by     text not null,
    started_at    integer not null,
    closed_at     integer,
    claim         text not null default '',
    claimed_until integer,
    partner       text,
    client        text,
    statements    integer not null default 0,
    adjustments   integer not null default 0
) strict;
-- At most one month is being closed.
create unique index closings_in_progress on closings (status) where status = 'in_progress';

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
) strict, without rowid;
