-- The epoch in which changes are numbered: milliseconds since 1970 when it began, then six random digits. Part of the id of
-- each change that is published from now on. A store that was restored from a backup begins a new one, as it gives out
-- numbers again that subscribers know already.
alter table relay add column epoch bigint;
update relay
set epoch = (extract(epoch from clock_timestamp()) * 1000)::bigint * 1000000 + floor(random() * 1000000)::bigint;
alter table relay alter column epoch set not null;

-- The oldest program that may write: the newest migration that it must know. A migration after which older programs would
-- leave something out raises it (docs/decisions/, on schema changes).
create table schema_compat (
    only_row   boolean primary key default true check (only_row),
    min_writer bigint not null
);
insert into schema_compat (min_writer) values (5);

-- Stops workers that are too old, also those from before this check: they say who they are by their application name alone.
-- A worker of a newer version says besides, in each transaction, which migration it knows.
create function check_writer() returns trigger language plpgsql as $$
declare
    writer   bigint := coalesce(nullif(current_setting('tenure.writer', true), '')::bigint, 0);
    required bigint;
begin
    if current_setting('application_name') <> 'tenure' then
        return null;
    end if;
    -- Held until the transaction ends: a migration that raises the number waits for those that write, and those that write
    -- after it see what it has written.
    lock table schema_compat in access share mode;
    select min_writer into required from schema_compat;
    if writer < required then
        raise exception 'a newer version of tenure has migrated these tables: they need a writer that knows migration %, '
            'and this one knows %; stop this worker and start the newer version', required, writer
            using errcode = '57000';
    end if;
    return null;
end $$;

create trigger check_writer before insert or update on clients
    for each statement execute function check_writer();
create trigger check_writer before insert or update on events
    for each statement execute function check_writer();
create trigger check_writer before insert or update on journal
    for each statement execute function check_writer();
create trigger check_writer before insert or update on touches
    for each statement execute function check_writer();
