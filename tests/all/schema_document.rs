//! `docs/schema.md` is generated from the databases of two migrated stores.
//!
//! A description stands in one place: it is a comment in the database of PostgreSQL, or, for what only SQLite has, a comment in
//! the statement that made it, which SQLite stores.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, SqliteConnection};

use crate::store::{Database, Fresh};

const UPDATE: &str = "TENURE_TEST_UPDATE_SCHEMA";

const HEAD: &str = "# The tables

Generated from the databases by `tests/all/schema_document.rs`, which fails if this file is out of date. With
`TENURE_TEST_UPDATE_SCHEMA=1` it writes the file. The descriptions are comments in the migrations; `psql` shows them with `\\d+`.

For reports and ad hoc queries, use the views: they show names instead of numbers, and have the same names and columns in both
stores. Only Tenure reads and writes the tables. Times in the tables of SQLite are microseconds since 1970; its views show them in
RFC 3339.
";

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_the_tables_of_postgres_and_sqlite() {
    let postgres = of_postgres(&Fresh::postgres("schema_document").await).await;
    let sqlite = of_sqlite(&Fresh::sqlite("schema_document").await).await;
    let document = render(&postgres, &sqlite);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema.md");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(&path, &document).expect("written");
    }
    let current = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = document.lines().zip(current.lines()).find(|(a, b)| a != b);
    assert!(
        document == current,
        "docs/schema.md is out of date ({differing:?}); run `{UPDATE}=1 cargo test --test all schema_document::`"
    );
}

/// What one database says about itself.
#[derive(Default)]
struct Schema {
    /// In the order of the document.
    relations: Vec<Relation>,
    /// Signatures with descriptions.
    functions: Vec<(String, String)>,
}

#[derive(Default)]
struct Relation {
    name: String,
    is_view: bool,
    description: String,
    columns: Vec<Column>,
    indexes: Vec<String>,
}

#[derive(Clone)]
struct Column {
    name: String,
    kind: String,
    /// Empty: this database does not describe it.
    description: String,
}

async fn of_postgres(fresh: &Fresh) -> Schema {
    let Database::Postgres(url) = &fresh.database else {
        unreachable!();
    };
    let mut connection = PgConnection::connect(url).await.expect("a connection");
    let relations: Vec<(i64, String, bool, String)> = sqlx::query_as(
        "select oid::bigint, relname::text, relkind = 'v', coalesce(obj_description(oid, 'pg_class'), '')
         from pg_class
         where relnamespace = 'public'::regnamespace and relkind in ('r', 'v') and relname <> '_sqlx_migrations'
         order by relkind, oid",
    )
    .fetch_all(&mut connection)
    .await
    .expect("relations");
    let mut schema = Schema::default();
    for (oid, name, is_view, description) in relations {
        schema.relations.push(Relation {
            name,
            is_view,
            description,
            columns: postgres_columns(&mut connection, oid).await,
            indexes: postgres_indexes(&mut connection, oid).await,
        });
    }
    schema.functions = sqlx::query_as(
        "select proname || '(' || pg_get_function_identity_arguments(oid) || ')', coalesce(obj_description(oid, 'pg_proc'), '')
         from pg_proc
         where pronamespace = 'public'::regnamespace
         order by oid",
    )
    .fetch_all(&mut connection)
    .await
    .expect("functions");
    schema
}

async fn postgres_columns(connection: &mut PgConnection, relation: i64) -> Vec<Column> {
    let columns: Vec<(String, String, String)> = sqlx::query_as(
        "select attname::text,
                format_type(atttypid, atttypmod)
                    || case when attnotnull or (select relkind = 'v' from pg_class where oid = attrelid) then ''
                            else ' or null' end,
                coalesce(col_description(attrelid, attnum), '')
         from pg_attribute
         where attrelid = $1::oid and attnum > 0 and not attisdropped
         order by attnum",
    )
    .bind(relation)
    .fetch_all(connection)
    .await
    .expect("columns");
    columns
        .into_iter()
        .map(|(name, kind, description)| Column {
            name,
            kind: kind.replace("timestamp with time zone", "timestamptz"),
            description,
        })
        .collect()
}

async fn postgres_indexes(connection: &mut PgConnection, relation: i64) -> Vec<String> {
    let indexes: Vec<String> = sqlx::query_scalar(
        "select case when indisprimary then 'primary key ' when indisunique then 'unique ' else '' end
                || substring(pg_get_indexdef(indexrelid) from ' USING (.*)')
         from pg_index
         where indrelid = $1::oid
         order by not indisprimary, indexrelid",
    )
    .bind(relation)
    .fetch_all(connection)
    .await
    .expect("indexes");
    let noise = ["btree ", "::text", "\""];
    indexes
        .into_iter()
        .map(|index| noise.iter().fold(index, |index, noise| index.replace(noise, "")))
        .map(|index| index.to_lowercase())
        .collect()
}

async fn of_sqlite(fresh: &Fresh) -> Schema {
    let Database::Sqlite(folder) = &fresh.database else {
        unreachable!();
    };
    let options = SqliteConnectOptions::new().filename(folder.path().join("tenure.db"));
    let mut connection = options.connect().await.expect("a connection");
    let relations: Vec<(String, bool, String)> = sqlx::query_as(
        "select name, type = 'view', sql
         from sqlite_master
         where type in ('table', 'view') and name not like 'sqlite_%' and name <> '_sqlx_migrations'
         order by rowid",
    )
    .fetch_all(&mut connection)
    .await
    .expect("relations");
    let mut schema = Schema::default();
    for (name, is_view, sql) in relations {
        schema.relations.push(Relation {
            columns: sqlite_columns(&mut connection, &name, is_view, &sql).await,
            indexes: sqlite_indexes(&mut connection, &name).await,
            name,
            is_view,
            description: String::new(),
        });
    }
    schema
}

async fn sqlite_columns(
    connection: &mut SqliteConnection,
    relation: &str,
    is_view: bool,
    sql: &str,
) -> Vec<Column> {
    let columns: Vec<(String, String, bool)> =
        sqlx::query_as("select name, lower(type), \"notnull\" or pk > 0 from pragma_table_info(?1)")
            .bind(relation)
            .fetch_all(connection)
            .await
            .expect("columns");
    let comments = comments(sql);
    columns
        .into_iter()
        .map(|(name, kind, is_never_null)| Column {
            kind: match kind.as_str() {
                // SQLite knows no type of an expression in a view. All of ours are text.
                "" => "text".to_owned(),
                kind if is_view || is_never_null => kind.to_owned(),
                kind => format!("{kind} or null"),
            },
            description: comments.get(&name).cloned().unwrap_or_default(),
            name,
        })
        .collect()
}

/// The comments above lines, by the first word of the line.
fn comments(sql: &str) -> BTreeMap<String, String> {
    let mut comments = BTreeMap::new();
    let mut above: Vec<&str> = Vec::new();
    for line in sql.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("-- ") {
            above.push(comment);
        } else if !above.is_empty() {
            let word = line.split_whitespace().next().unwrap_or_default();
            comments.insert(word.to_owned(), above.join(" "));
            above.clear();
        }
    }
    comments
}

async fn sqlite_indexes(connection: &mut SqliteConnection, relation: &str) -> Vec<String> {
    let primary_key: Option<String> = sqlx::query_scalar(
        "select group_concat(name, ', ')
         from (select name from pragma_table_info(?1) where pk > 0 order by pk)",
    )
    .bind(relation)
    .fetch_one(&mut *connection)
    .await
    .expect("a key");
    let others: Vec<String> = sqlx::query_scalar(
        "select case when l.\"unique\" then 'unique ' else '' end
                || '(' || (select group_concat(name, ', ') from pragma_index_info(l.name)) || ')'
                || coalesce(substr(m.sql, nullif(instr(m.sql, ' where '), 0)), '')
         from pragma_index_list(?1) l
         left join sqlite_master m on m.name = l.name
         where l.origin <> 'pk'
         order by l.seq desc",
    )
    .bind(relation)
    .fetch_all(connection)
    .await
    .expect("indexes");
    primary_key
        .map(|columns| format!("primary key ({columns})"))
        .into_iter()
        .chain(others)
        .collect()
}

fn render(postgres: &Schema, sqlite: &Schema) -> String {
    let mut text = HEAD.to_owned();
    let names = |schema: &Schema| -> BTreeSet<String> {
        let names = schema.relations.iter().map(|relation| relation.name.clone());
        names.collect()
    };
    assert_eq!(names(postgres), names(sqlite), "both stores have the same tables");
    for (title, is_view) in [("Views", true), ("Tables", false)] {
        let _ = write!(text, "\n## {title}\n");
        for relation in postgres
            .relations
            .iter()
            .filter(|relation| relation.is_view == is_view)
        {
            let other = sqlite.relations.iter().find(|other| other.name == relation.name);
            render_relation(&mut text, relation, other.expect("the same tables"));
        }
    }
    text.push_str("\n## Functions of PostgreSQL\n\n| function | meaning |\n|---|---|\n");
    for (signature, description) in &postgres.functions {
        assert!(!description.is_empty(), "{signature} has no description");
        let _ = writeln!(text, "| `{signature}` | {} |", cell(description));
    }
    text
}

fn render_relation(text: &mut String, postgres: &Relation, sqlite: &Relation) {
    let name = &postgres.name;
    assert!(!postgres.description.is_empty(), "{name} has no description");
    let _ = write!(
        text,
        "\n### {name}\n\n{}\n\n| column | PostgreSQL | SQLite | meaning |\n|---|---|---|---|\n",
        postgres.description
    );
    let only_sqlite = sqlite
        .columns
        .iter()
        .filter(|column| postgres.columns.iter().all(|other| other.name != column.name));
    for column in postgres.columns.iter().chain(only_sqlite) {
        let find = |relation: &Relation| -> Option<Column> {
            let same = relation.columns.iter().find(|other| other.name == column.name);
            same.cloned()
        };
        let of_both = [find(postgres), find(sqlite)];
        let descriptions: Vec<&str> = of_both
            .iter()
            .flatten()
            .map(|column| column.description.as_str())
            .filter(|description| !description.is_empty())
            .collect();
        let [description] = descriptions[..] else {
            panic!("{name}.{} needs one description: {descriptions:?}", column.name);
        };
        let [in_postgres, in_sqlite] = of_both
            .each_ref()
            .map(|column| column.as_ref().map_or("", |column| column.kind.as_str()));
        let _ = writeln!(
            text,
            "| `{}` | {in_postgres} | {in_sqlite} | {} |",
            column.name,
            cell(description)
        );
    }
    for (store, relation) in [("PostgreSQL", postgres), ("SQLite", sqlite)] {
        if !relation.indexes.is_empty() {
            let _ = write!(text, "\nIndexes on {store}: {}.\n", relation.indexes.join("; "));
        }
    }
}

/// A description as a cell of a table.
fn cell(description: &str) -> String {
    description.replace('|', "\\|")
}
