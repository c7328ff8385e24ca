-- The tables of Tenure on PostgreSQL.
--
-- Clients, sources and words are numbered, and every other table has their numbers: a client's two ids take 20 to 70 bytes in
-- a row and as much again in each of its indexes. The numbers are this database's own. The views have the names.
--
-- A table about clients begins each of its keys with the client, so that it can be partitioned or distributed by it. Two keys do
-- not: a name is unique within its partner (clients_name_is_unique), and an event in the whole log (events_by_ref).
--
-- No column refers to keys, sources or words by a constraint: a foreign key locks the row that it refers to with each insert, and
-- these rows are never deleted. Only the chunks of a sweep refer to their run, so that both are deleted together.
--
-- Tables with millions of rows have no nulls: a row without them is 8 bytes smaller. Their columns stand in the order that
-- needs the least padding.
--
-- Texts that the program sorts or pages by are compared by bytes (collate "C"): locks are taken in the order in which the
-- program sorts keys, whatever the database's own language.

-- Names and their numbers.

create table client_keys (
    number  integer generated always as identity primary key,
    partner text collate "C" not null,
    client  text collate "C" not null,
    unique (partner, client)
);
-- Finds clients of any partner by the beginning of their ids.
create index client_keys_by_client on client_keys (client, partner);
comment on table client_keys is 'The key of every client that was ever mentioned, and its number. Rows are only added.';
comment on column client_keys.number is 'Identifies the client in all other tables of this database.';
comment on column client_keys.partner is 'The partner''s id.';
comment on column client_keys.client is 'The client''s id, unique within its partner.';

create table sources (
    number integer generated always as identity primary key,
    source text collate "C" not null unique
);
comment on table sources is 'The sources of events. Rows are only added.';
comment on column sources.number is 'Identifies the source in all other tables of this database.';
comment on column sources.source is 'The CloudEvents attribute `source`.';

create table words (
    number smallint generated always as identity primary key,
    word   text collate "C" not null unique
);
comment on table words is
    'The words that the program knows: types of events and changes, refusals, sweeps, and causes. Rows are only added.';
comment on column words.number is 'Stands for the word in all other tables of this database.';
comment on column words.word is 'The word, for example `client.added`, `link.active`, `name_taken`, `access-expiry` or `timer:access_expiry`.';

-- The name of an event in one byte string, 8 bytes smaller in an index than two columns: the number of its source (one byte,
-- or 255 and four bytes), then its id. A UUID in lower case is its 16 bytes. Any other id is its text in UTF-8, and a text of
-- just 16 bytes has a zero byte behind it, which no id contains.

create function event_ref(source integer, id bytea) returns bytea language sql immutable parallel safe as $$
    select case when source < 255 then substr(int4send(source), 4) else '\xff'::bytea || int4send(source) end || id
$$;
comment on function event_ref(integer, bytea) is
    'The reference to an event, from the number of its source and the bytes of its id.';

create function event_ref(source text, id text) returns bytea language sql stable parallel safe as $$
    select event_ref(
        s.number,
        case
            when id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then decode(replace(id, '-', ''), 'hex')
            when octet_length(id) = 16 then convert_to(id, 'UTF8') || '\x00'::bytea
            else convert_to(id, 'UTF8')
        end)
    from sources s
    where s.source = event_ref.source
$$;
comment on function event_ref(text, text) is
    'The reference to an event, from its source and id: `select * from event_log where ref = event_ref(''/app'', ''42'')` uses '
    'the index.';

create function ref_source(ref bytea) returns integer language sql immutable parallel safe as $$
    select case
        when octet_length(ref) = 0 then null
        when get_byte(ref, 0) < 255 then get_byte(ref, 0)
        else (get_byte(ref, 1) << 24) | (get_byte(ref, 2) << 16) | (get_byte(ref, 3) << 8) | get_byte(ref, 4)
    end
$$;
comment on function ref_source(bytea) is 'The number of the source in a reference to an event.';

create function ref_id(ref bytea) returns text language sql immutable parallel safe as $$
    select case octet_length(i.id)
        when 16 then encode(i.id, 'hex')::uuid::text
        when 17 then convert_from(case get_byte(i.id, 16) when 0 then substr(i.id, 1, 16) else i.id end, 'UTF8')
        else convert_from(i.id, 'UTF8')
    end
    from (
        select case
            when octet_length(ref) = 0 then null
            when get_byte(ref, 0) < 255 then substr(ref, 2)
            else substr(ref, 6)
        end as id
    ) i
$$;
comment on function ref_id(bytea) is 'The id in a reference to an event.';
