-- The tables of a SQLite store.
--
-- Texts that repeat in every row are numbers here: see client_keys, sources and words. The views at the end show the texts.
-- Times are whole microseconds since 1970-01-01 UTC. Text is compared by bytes. '' stands for an absent text where a column
-- cannot be null.
--
-- docs/schema.md describes all tables, views and columns. The descriptions are the comments in the tables of PostgreSQL, and,
-- for a column that only SQLite has, the comment above it here.

-- Dictionaries. Rows are only ever added, before the rows that use their numbers. The other tables have no foreign keys to
-- them: SQLite would look up each number again for each row.

create table client_keys (
    number  integer primary key,
    partner text not null,
    client  text not null,
    unique (partner, client)
) strict;
-- Finds clients of any partner by the beginning of their ids.
create index client_keys_by_client on client_keys (client, partner);

create table sources (
    number integer primary key,
    source text not null unique
) strict;

create table words (
    number integer primary key,
    word   text not null unique
) strict;
