-- Not by client first: the relay, the feed and retention read all lines in the order of seq. A number is never assigned twice,
-- because the relay's cursor points to it.
create table journal (
    seq          integer primary key autoincrement,
    client       integer not null,
    time         integer not null,
    recorded_at  integer not null,
    change       integer not null,
    cause        integer not null,
    -- The number of the source of the event that caused the change. 0: no event caused it.
    cause_source integer not null,
    -- The id of that event, as in `events`. '': no event caused the change.
    cause_id     any not null,
    cause_actor  text not null,
    cause_reason text not null,
    corrector    integer not null,
    -- The number of the source of the late event that made a correction necessary. 0: no late event did.
    corrector_source integer not null,
    -- The id of that event, as in `events`. '': no late event made it necessary.
    corrector_id any not null,
    id           text not null,
    before       text not null,
    after        text not null,
    data         text not null
) strict;
-- Lists the changes of a client. Its entries end with seq.
create index journal_of_client on journal (client);

create table relay (
    only_row      integer primary key default 1 check (only_row = 1),
    seq           integer not null default 0,
    epoch         integer not null,
    pruned_before integer,
    pruned_seq    integer,
    pruned_recorded_at integer
) strict;
insert into relay (epoch)
values (cast(unixepoch('now', 'subsec') * 1000 as integer) * 1000000 + abs(random() % 1000000));
