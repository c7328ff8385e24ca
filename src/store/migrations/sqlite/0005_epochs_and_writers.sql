-- The epoch in which changes are numbered: milliseconds since 1970 when it began, then six random digits. Part of the id of
-- each change that is published from now on. A store that was restored from a backup begins a new one, as it gives out
-- numbers again that subscribers know already.
alter table relay add column epoch integer not null default 0;
update relay
set epoch = cast(unixepoch('now', 'subsec') * 1000 as integer) * 1000000 + abs(random() % 1000000);

-- The oldest program that may write: the newest migration that it must know. A migration after which older programs would
-- leave something out raises it (docs/decisions/, on schema changes).
create table schema_compat (
    only_row   integer primary key default 1 check (only_row = 1),
    min_writer integer not null
) strict;
insert into schema_compat (min_writer) values (5);
