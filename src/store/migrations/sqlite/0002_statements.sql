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

create view statement_lines
    (partner, client, statement, month, billable_days, commission_days, status_credit_days, access_days, causes) as
with bits (bit) as (
    values (1), (1 << 1), (1 << 2), (1 << 3), (1 << 4), (1 << 5), (1 << 6), (1 << 7), (1 << 8), (1 << 9), (1 << 10),
           (1 << 11), (1 << 12), (1 << 13), (1 << 14), (1 << 15), (1 << 16), (1 << 17), (1 << 18), (1 << 19), (1 << 20),
           (1 << 21), (1 << 22), (1 << 23), (1 << 24), (1 << 25), (1 << 26), (1 << 27), (1 << 28), (1 << 29), (1 << 30)
)
select k.partner, k.client,
       printf('%04d-%02d', s.stated_in / 100, s.stated_in % 100),
       printf('%04d-%02d', s.month / 100, s.month % 100),
       s.billable - lag(s.billable, 1, 0) over earlier,
       s.commission - lag(s.commission, 1, 0) over earlier,
       s.status_credit - lag(s.status_credit, 1, 0) over earlier,
       s.access - lag(s.access, 1, 0) over earlier,
       nullif(s.causes, '')
from (
    select client, month, stated_in, causes,
           (select count(*) from bits where billable & bit <> 0) as billable,
           (select count(*) from bits where commission & bit <> 0) as commission,
           (select count(*) from bits where status_credit & bit <> 0) as status_credit,
           (select count(*) from bits where access & bit <> 0) as access
    from statement_days
) s
join closings c on c.month = s.stated_in and c.status = 'closed'
left join client_keys k on k.number = s.client
window earlier as (partition by s.client, s.month order by s.stated_in);

create view closed_months (month, closed_by, started_at, closed_at, statements, adjustments) as
select printf('%04d-%02d', month / 100, month % 100), closed_by,
       strftime('%Y-%m-%dT%H:%M:%S', (started_at - 999999 * (started_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (started_at % 1000000 + 1000000) % 1000000),
       strftime('%Y-%m-%dT%H:%M:%S', (closed_at - 999999 * (closed_at < 0)) / 1000000, 'unixepoch')
           || printf('.%06dZ', (closed_at % 1000000 + 1000000) % 1000000),
       statements, adjustments
from closings
where status = 'closed';
