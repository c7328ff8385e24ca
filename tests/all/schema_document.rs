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
stores, except for EXCEPTIONS, which only PostgreSQL has. Only Tenure reads and writes the tables.
Times in the tables of SQLite are microseconds since 1970; its views show them in RFC 3339, JSON as text, and a boolean as 0
or 1.
";

/// Columns of views that SQLite does not have: what they show is made of two columns there, or does not exist.
const ONLY_IN_POSTGRES: [&str; 2] = ["event_log.ref", "change_log.xid"];

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

/// A row in each view of SQLite, with a value in each column.
const ROWS: &str = r#"
    insert into client_keys values (1, 'p', 'c');
    insert into sources values (1, '/s');
    insert into words (word) values ('timer:test');
    insert into clients (client, partner, name, name_key, link, service, access, as_of, version, doc)
    values (1, 'p', 'C', 'c', 'draft', 'none', 'none', 1, 1, '{"client": {
        "subscriptions": {"s": {"managed_by": "partner", "plan": "x", "paid_until": "y", "state": {"status": "ended", "ended_at": "z"}}},
        "assignments": {"a": "b"}, "report_schedules": ["r"], "margin_rules": ["m"]}}');
    insert into events values (1, 1, 1, 'text', 1, 1, 1, ':1', 'partner:a', '{}'), (1, 1, 1, x'00', 1, 1, 1, ':1', 'partner:a', '');
    insert into journal (client, time, recorded_at, change, cause, cause_source, cause_id, cause_actor, cause_reason, corrector,
                         corrector_source, corrector_id, id, before, after, data)
    values (1, 1, 1, 1, 1, 1, 'text', '', '', 1, 1, 'text', 'i', 'b', ':a', '{}'),
           (1, 1, 1, 1, (select max(number) from words), 0, '', '', '', 1, 1, x'00', 'i', 'b', '=', '{}'),
           (1, 1, 1, 1, 1, 1, x'00', '', '', (select max(number) from words), 0, '', 'i', 'b', ':a', '{}');
    insert into deadlines values (1, 1, 1);
    insert into closings (month, status, closed_by, started_at, closed_at) values (202601, 'closed', 'ann', 1, 1);
    insert into statement_days values (1, 202601, 202601, 1, 1, 1, 1, '', '[]');
    insert into accesses values (1, 1, 1, 'text', 1, 1, ':1', ':u', 'partner:a'), (1, 2, 1, x'00', 1, 0, ':1', ':u', 'partner:a');
"#;

/// SQLite does not know the types of expressions in views, so the document relies on this.
#[tokio::test(flavor = "multi_thread")]
async fn the_views_of_sqlite_have_values_of_the_types_in_the_document() {
    let fresh = Fresh::sqlite("view_types").await;
    let schema = of_sqlite(&fresh).await;
    let mut connection = connect(&fresh).await;
    sqlx::raw_sql(ROWS).execute(&mut connection).await.expect("rows");
    for view in schema.relations.iter().filter(|relation| relation.is_view) {
        for column in &view.columns {
            let types = format!(
                "select distinct typeof(\"{0}\") from {1} where \"{0}\" is not null",
                column.name, view.name
            );
            let types: Vec<String> = sqlx::query_scalar(&types)
                .fetch_all(&mut connection)
                .await
                .expect("types");
            assert_eq!(types, [&*column.kind], "{}.{}", view.name, column.name);
        }
    }
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
        "select case when indisprimary then 'primary key ' when indisunique then 'unique '
                     when indisexclusion then 'exclude ' else '' end
                || coalesce(
                       (select substring(pg_get_constraintdef(oid) from ' USING (.*)')
                        from pg_constraint
                        where conindid = indexrelid and contype = 'x'),
                       substring(pg_get_indexdef(indexrelid) from ' USING (.*)'))
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
    let mut connection = connect(fresh).await;
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

async fn connect(fresh: &Fresh) -> SqliteConnection {
    let Database::Sqlite(folder) = &fresh.database else {
        unreachable!();
    };
    let options = SqliteConnectOptions::new().filename(folder.path().join("tenure.db"));
    options.connect().await.expect("a connection")
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
                // An expression of a view without a cast has no type. The test of the views shows that all of these are texts.
                "" => "text".to_owned(),
                "int" => "integer".to_owned(),
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
    let only_in_postgres = ONLY_IN_POSTGRES.map(|column| format!("`{column}`"));
    let mut text = HEAD.replace("EXCEPTIONS", &only_in_postgres.join(" and "));
    let names = |schema: &Schema| -> BTreeSet<String> {
        let names = schema.relations.iter().map(|relation| relation.name.clone());
        names.collect()
    };
    assert_eq!(names(postgres), names(sqlite), "both stores have the same tables");
    let [of_postgres, of_sqlite] = [postgres, sqlite].map(view_columns);
    let differing: Vec<_> = of_postgres.symmetric_difference(&of_sqlite).collect();
    let expected = BTreeSet::from(ONLY_IN_POSTGRES.map(str::to_owned));
    assert!(
        differing.iter().copied().eq(&expected) && of_postgres.is_superset(&expected),
        "the views have other columns on PostgreSQL than on SQLite: {differing:?}"
    );
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

/// The columns of all views, as `view.column`.
fn view_columns(schema: &Schema) -> BTreeSet<String> {
    let views = schema.relations.iter().filter(|relation| relation.is_view);
    views
        .flat_map(|view| {
            view.columns
                .iter()
                .map(move |column| format!("{}.{}", view.name, column.name))
        })
        .collect()
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
