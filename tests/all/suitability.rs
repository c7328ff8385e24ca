//! Databases that Tenure cannot use as they are: the error says what to do, and nothing is left behind.

use tempfile::TempDir;

use crate::support::servers::{Postgres, name_in};
use crate::support::tenure::Tenure;

fn site(url: &str) -> (TempDir, Tenure) {
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", url)]);
    (folder, tenure)
}

/// What `tenure migrate` says to standard error when it refuses a database.
fn refusal(tenure: &Tenure) -> String {
    let output = tenure.call(&["migrate"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    String::from_utf8(output.stderr).expect("text")
}

fn migrations_tables(server: &Postgres, database: &str) -> String {
    server.sql(
        database,
        "select count(*) from pg_class where relname = '_sqlx_migrations'",
    )
}

#[test]
fn a_schema_without_create_privilege_is_refused_with_the_grant_to_run() {
    let server = Postgres::shared();
    let url = server.database("unsuitable");
    let database = name_in(&url);
    server.sql(
        "postgres",
        "drop role if exists unsuitable; create role unsuitable login",
    );
    server.sql(database, "revoke create on schema public from public");
    let (_folder, tenure) = site(&url.replace("postgres@", "unsuitable@"));
    let stderr = refusal(&tenure);
    assert!(
        stderr.contains("grant create on schema \"public\" to \"unsuitable\""),
        "{stderr}"
    );
    server.sql("postgres", "alter role unsuitable set search_path = nowhere");
    let stderr = refusal(&tenure);
    assert!(
        stderr.contains("create schema") && stderr.contains("nowhere"),
        "{stderr}"
    );
    assert_eq!(migrations_tables(server, database), "0");
}

#[test]
fn a_database_that_allows_no_connections_is_refused_with_the_remedy() {
    let url = Postgres::shared().url("template0");
    let stderr = refusal(&site(&url).1);
    assert!(stderr.contains("name another database"), "{stderr}");
}

#[test]
fn tables_of_another_program_are_named_and_nothing_is_created() {
    let server = Postgres::shared();
    for (statement, named, left) in [
        ("create table clients (id bigint)", "\"clients\"", "0"),
        ("create view journal as select 1 as x", "\"journal\"", "0"),
        (
            "create table _sqlx_migrations (id bigint)",
            "_sqlx_migrations",
            "1",
        ),
        (
            "create view _sqlx_migrations as select 1 as version",
            "_sqlx_migrations",
            "1",
        ),
    ] {
        let url = server.database("foreign");
        let database = name_in(&url);
        server.sql(database, statement);
        let (_folder, tenure) = site(&url);
        let stderr = refusal(&tenure);
        assert!(
            stderr.contains(named)
                && stderr.contains("another program")
                && stderr.contains("create schema tenure"),
            "{statement}: {stderr}"
        );
        assert_eq!(migrations_tables(server, database), left, "{statement}");
        let output = tenure.call(&["client", "list"]);
        assert_eq!(output.status.code(), Some(2), "{statement}: {output:?}");
    }
}

/// What a failed migration of an earlier version left behind.
#[test]
fn an_empty_table_of_migrations_is_not_a_store() {
    let server = Postgres::shared();
    let url = server.database("left_behind");
    let (_folder, tenure) = site(&url);
    tenure.ok(&["migrate"]);
    server.sql(name_in(&url), "delete from _sqlx_migrations");
    let output = tenure.call(&["client", "list"]);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("no Tenure store"), "{stderr}");
}

#[test]
fn no_postgresql_statement_is_advised_for_sqlite() {
    for statement in [
        "create table clients (id integer)",
        "create table _sqlx_migrations (id integer)",
        "create view _sqlx_migrations as select 1 as version",
    ] {
        let (folder, tenure) = site("sqlite://tenure.db");
        crate::sqlite_files::run_sql(&folder.path().join("tenure.db"), statement);
        let stderr = refusal(&tenure);
        assert!(
            stderr.contains("another program")
                && stderr.contains("a file of its own")
                && !stderr.contains("create schema"),
            "{statement}: {stderr}"
        );
    }
}

#[test]
fn an_acknowledged_event_survives_a_crash_where_synchronous_commit_is_off() {
    let server = Postgres::with_settings(&[
        "synchronous_commit=off",
        "wal_writer_delay=10s",
        "wal_writer_flush_after=100MB",
    ]);
    let url = server.database("asynchronous");
    let (_folder, tenure) = site(&url);
    let worker = tenure.run();
    for n in 0..20 {
        assert_eq!(worker.add_client(&format!("c-{n}")).0, 200);
    }
    server.kill();
    server.start();
    assert_eq!(server.sql(name_in(&url), "select count(*) from event_log"), "20");
    assert_eq!(worker.log().matches("synchronous_commit is off").count(), 1);
}

#[test]
fn a_revoked_login_or_database_gives_503() {
    let server = Postgres::shared();
    let url = server.database("taken_away");
    let database = name_in(&url);
    server.sql(
        "postgres",
        "drop role if exists taken_away; create role taken_away login",
    );
    server.sql(
        "postgres",
        &format!("alter database {database} owner to taken_away"),
    );
    server.sql(database, "grant all on schema public to taken_away");
    let (_folder, tenure) = site(&url.replace("postgres@", "taken_away@"));
    let worker = tenure.run();
    for (away, back) in [
        (
            "alter role taken_away nologin".to_owned(),
            "alter role taken_away login".to_owned(),
        ),
        (
            format!("alter database {database} rename to {database}_x"),
            format!("alter database {database}_x rename to {database}"),
        ),
        (
            format!("alter database {database} allow_connections false"),
            format!("alter database {database} allow_connections true"),
        ),
    ] {
        let end =
            format!("select pg_terminate_backend(pid) from pg_stat_activity where datname = '{database}'");
        server.sql("postgres", "alter role taken_away nologin");
        server.sql("postgres", &end);
        server.sql("postgres", &away);
        if !away.ends_with("nologin") {
            server.sql("postgres", "alter role taken_away login");
        }
        let (status, body) = worker.add_client("refused");
        assert_eq!(status, 503, "{away}: {body}");
        server.sql("postgres", &back);
        worker.wait_until("ready again", || worker.get("/readyz").0 == 200);
    }
    assert_eq!(worker.add_client("accepted").0, 200);
    assert!(worker.stop().success());
}
