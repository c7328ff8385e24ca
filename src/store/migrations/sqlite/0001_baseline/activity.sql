-- Events and changes per minute.

create table activity (
    minute      integer not null,
    worker      integer not null,
    applied     integer not null,
    duplicate   integer not null,
    refused     integer not null,
    dead        integer not null,
    deferred    integer not null,
    by_event    integer not null,
    by_timer    integer not null,
    corrections integer not null,
    primary key (minute, worker)
) strict, without rowid;
