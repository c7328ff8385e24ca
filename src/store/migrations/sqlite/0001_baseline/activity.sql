-- How many events and changes each minute brought.

create table activity (
    minute  integer not null,
    process integer not null,
    counts  text not null,
    primary key (minute, process)
) strict, without rowid;
