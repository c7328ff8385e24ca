//! The views and descriptions for people who query the tables.

use super::*;

/// The views, and the function that makes the name of an event, agree with the program.
#[tokio::test(flavor = "multi_thread")]
async fn events_are_found_by_source_and_id_in_sql() {
    let fresh = with_clients("event_ref", &["a"]).await;
    let ids = [
        "0b9f6c9e-5d0f-4d3a-9c57-0d2a8f6f3c11",
        "0B9F6C9E-5D0F-4D3A-9C57-0D2A8F6F3C11",
        "e",
        "fifteen letters",
        "sixteen letters!",
        "seventeen letters",
        "sechzehn Zöllen",
    ];
    let mut events = Vec::new();
    for (id, n) in ids.iter().zip(1..) {
        let requested = kind("access.requested", &serde_json::json!({}));
        events.push(applied(event(&key("a"), id, n, requested)));
    }
    // From here on, the numbers of sources have five bytes.
    fresh
        .database
        .sql("insert into sources (source) select 'other ' || n from generate_series(1, 300) n returning ''")
        .await;
    for (id, n) in ids.iter().zip(20..) {
        let requested = kind("access.requested", &serde_json::json!({}));
        let mut other = event(&key("a"), id, n, requested);
        other.source = "/apps/late".into();
        events.push(applied(other));
    }
    put(&*fresh.store, Commit { events, ..commit() }).await.unwrap();
    let found = fresh.database.sql("select id from event_log order by time").await;
    assert_eq!(found, [ids, ids].concat());
    let agrees = "select distinct (ref = event_ref(source, id) and outcome = 'applied' and type = 'access.requested')::text
                  from event_log";
    assert_eq!(fresh.database.sql(agrees).await, ["true"]);
    let long = "select distinct octet_length(ref) - octet_length(id) from event_log where source = '/apps/late' and id = 'e'";
    assert_eq!(
        fresh
            .database
            .sql(&*format!("select ({long})::text").leak())
            .await,
        ["5"]
    );
    let history = fresh.store.history(&key("a")).await.unwrap();
    assert!(
        history
            .iter()
            .map(|logged| &*logged.event.id)
            .eq([ids, ids].concat())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_view_and_column_is_described() {
    let fresh = Fresh::postgres("described").await;
    let bare = "select c.relname || coalesce('.' || a.attname, '')
                from pg_class c
                left join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v') and c.relname <> '_sqlx_migrations'
                  and (obj_description(c.oid, 'pg_class') is null or col_description(c.oid, a.attnum) is null)";
    assert_eq!(fresh.database.sql(bare).await, [""; 0]);
    let described = "select count(*)::text from pg_description where classoid = 'pg_class'::regclass
                     and objoid = 'public.event_log'::regclass";
    assert_eq!(
        fresh.database.sql(described).await,
        ["15"],
        "fourteen columns and the view"
    );
}
