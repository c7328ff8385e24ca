create table schema_compat (
    only_row   integer primary key default 1 check (only_row = 1),
    min_writer integer not null
) strict;
insert into schema_compat (min_writer) values (1);
