create table policies (
    effective_from integer primary key,
    policy         text not null
) strict;

create table deadline_backfill (
    only_row    integer primary key default 1 check (only_row = 1),
    policy_from integer not null,
    partner     text,
    client      text
) strict;
