//! Every key of a table about clients begins with the client, so that the table can be partitioned or distributed by it.
//!
//! The exceptions are listed here, and nowhere else: each with what it costs.

use std::collections::BTreeSet;

use super::Fresh;

/// A table, the columns of a key of it that does not begin with the client, and why.
type Exception = (&'static str, &'static str, &'static str);

const OF_POSTGRES: &[Exception] = &[
    (
        "clients",
        "partner, name_key",
        "a name is unique within its partner: `clients` can be distributed by partner, or without this key",
    ),
    (
        "events",
        "ref",
        "a source and id are unique in the whole log: `events` cannot be partitioned while this key exists",
    ),
];

const OF_SQLITE: &[Exception] = &[
    (
        "clients",
        "partner, name_key",
        "a name is unique within its partner",
    ),
    (
        "events",
        "id, source",
        "a source and id are unique in the whole log",
    ),
    (
        "journal",
        "seq",
        "the relay and the feed read all lines in this order, and SQLite has no partitions",
    ),
];

/// The keys of tables with a column of the number of a client, as `table: columns`.
const KEYS_OF_POSTGRES: &str = "
    select i.indrelid::regclass || ': ' || (
               select string_agg(coalesce(a.attname, '(expression)'), ', ' order by k.place)
               from unnest(i.indkey::smallint[]) with ordinality k (number, place)
               left join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
               where k.place <= i.indnkeyatts)
    from pg_index i
    join pg_class c on c.oid = i.indrelid and c.relnamespace = 'public'::regnamespace
    join pg_attribute client on client.attrelid = c.oid and client.attname = 'client' and client.atttypid = 'integer'::regtype
    where i.indisprimary or i.indisunique or i.indisexclusion";

const KEYS_OF_SQLITE: &str = "
    with tables as (
        select m.name
        from sqlite_master m
        join pragma_table_info(m.name) c on c.name = 'client' and lower(c.type) = 'integer'
        where m.type = 'table'
    )
    select t.name || ': ' || (select group_concat(name, ', ') from (select name from pragma_table_info(t.name) where pk > 0 order by pk))
    from tables t
    union all
    select t.name || ': ' || (
               select group_concat(name, ', ')
               from (select coalesce(name, '(expression)') as name from pragma_index_info(i.name) order by seqno))
    from tables t
    join pragma_index_list(t.name) i on i.\"unique\" and i.origin <> 'pk'";

async fn expect_exceptions(fresh: &Fresh, keys: &'static str, exceptions: &[Exception]) {
    let keys = fresh.database.sql(keys).await;
    assert!(keys.len() > 9, "{keys:?}");
    let others: BTreeSet<String> = keys
        .into_iter()
        .filter(|key| {
            let (_, columns) = key.split_once(": ").unwrap();
            columns.split(", ").next() != Some("client")
        })
        .collect();
    let expected: BTreeSet<String> = exceptions
        .iter()
        .map(|(table, columns, _)| format!("{table}: {columns}"))
        .collect();
    assert_eq!(others, expected, "keys that do not begin with the client");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_postgres_begin_with_the_client() {
    let fresh = Fresh::postgres("keys").await;
    expect_exceptions(&fresh, KEYS_OF_POSTGRES, OF_POSTGRES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_sqlite_begin_with_the_client() {
    let fresh = Fresh::sqlite("keys").await;
    expect_exceptions(&fresh, KEYS_OF_SQLITE, OF_SQLITE).await;
}
