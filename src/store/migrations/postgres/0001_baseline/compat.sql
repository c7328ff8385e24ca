-- Which programs may write (docs/decisions/0009-schema-changes-expand-then-contract.md).

create table schema_compat (
    only_row   boolean primary key default true check (only_row),
    min_writer bigint not null
);
insert into schema_compat (min_writer) values (1);
comment on table schema_compat is 'The oldest program that may write. One row.';
comment on column schema_compat.only_row is 'Always true.';
comment on column schema_compat.min_writer is
    'The newest migration that a program must know in order to write. A migration that adds something every writer must '
    'maintain raises it.';

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
comment on function check_writer() is
    'Rejects writes of workers that are too old. A worker states in each transaction which migration it knows; a worker that '
    'states none is recognized by its application name.';

create trigger check_writer before insert or update on clients
    for each statement execute function check_writer();
create trigger check_writer before insert or update on events
    for each statement execute function check_writer();
create trigger check_writer before insert or update on journal
    for each statement execute function check_writer();
create trigger check_writer before insert or update on touches
    for each statement execute function check_writer();
