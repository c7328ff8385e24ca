//! Commands in the wrong directory or on the wrong database: only commands that ingest events create a store.

use sqlx::Connection as _;

use super::{Given, code, commands, stderr, stdout};
use crate::support::servers::Postgres;
use crate::support::tenure::Tenure;

/// More arguments of commands that read a store.
const MORE_READING: &[&[&str]] = &[
    &["client", "show", "acme/a"],
    &["verify", "acme/a"],
    &["prune", "--dry-run"],
    &["client", "list", "--count"],
];

fn reading() -> Vec<&'static [&'static str]> {
    commands::reading().chain(MORE_READING.iter().copied()).collect()
}

fn reading_or_changing() -> Vec<&'static [&'static str]> {
    reading().into_iter().chain(commands::changing()).collect()
}

fn refused(tenure: &Tenure, args: &[&str], words: &[&str]) {
    for args in [args.to_vec(), [args, &["--json"]].concat()] {
        let output = tenure.call(&args);
        let why = stderr(&output);
        assert_eq!(code(&output), 2, "{args:?}: {why}");
        assert_eq!(stdout(&output), "", "{args:?}");
        for word in words {
            assert!(why.contains(word), "{args:?}: no {word:?} in {why}");
        }
    }
}

#[test]
fn a_missing_store_is_named_and_not_created() {
    let given = Given::nothing();
    let path = given
        .folder
        .path()
        .canonicalize()
        .expect("a folder")
        .join("tenure.db");
    let path = path.to_string_lossy().into_owned();
    for args in reading_or_changing() {
        refused(&given.tenure, args, &[&path, "DATABASE_URL", "`tenure migrate`"]);
    }
    let left: Vec<_> = given.folder.path().read_dir().expect("a folder").collect();
    assert!(left.is_empty(), "{left:?}");
    // This command needs no store.
    given.tenure.ok(&["config"]);
}

#[tokio::test]
async fn a_file_of_another_program_is_not_a_store() {
    let given = Given::nothing();
    let path = given.folder.path().join("tenure.db");
    std::fs::write(&path, "").expect("a file");
    for args in reading_or_changing() {
        refused(&given.tenure, args, &["no Tenure store at"]);
    }
    assert_eq!(std::fs::metadata(&path).expect("the file").len(), 0);
    let tables = given.tables().await;
    let mut tables = tables;
    sqlx::query("create table notes (text)")
        .execute(&mut tables)
        .await
        .expect("a table");
    tables.close().await.expect("closed");
    for args in reading_or_changing() {
        refused(&given.tenure, args, &["no Tenure store at"]);
    }
}

#[tokio::test]
async fn reading_a_store_of_another_version_fails_and_does_not_migrate_it() {
    let given = Given::events();
    let mut tables = given.tables().await;
    sqlx::query(
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
         values (999, 'of a program to come', true, x'00', 0)",
    )
    .execute(&mut tables)
    .await
    .expect("a newer store");
    for args in reading() {
        let output = given.tenure.call(args);
        assert_eq!(code(&output), 1, "{args:?}");
        assert!(stderr(&output).contains("newer version"), "{}", stderr(&output));
    }
    for statement in [
        "delete from _sqlx_migrations where version = 999",
        "update _sqlx_migrations set description = 'tables' where version = 1",
    ] {
        let done = sqlx::query(statement).execute(&mut tables).await;
        assert_eq!(done.expect("a store from before the baseline").rows_affected(), 1);
    }
    for args in reading().into_iter().chain([&["migrate"][..]]) {
        refused(
            &given.tenure,
            args,
            &["before the baseline", "ingest the events again", "store.url"],
        );
    }
    tables.close().await.expect("closed");
}

#[test]
fn a_database_without_tables_is_not_a_store() {
    let url = Postgres::shared().database("elsewhere");
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
    let name = crate::support::servers::name_in(&url);
    for args in reading_or_changing() {
        refused(&tenure, args, &["no Tenure store at", name]);
    }
    assert_eq!(
        Postgres::shared().sql(name, "select count(*) from pg_tables where schemaname = 'public'"),
        "0"
    );
    tenure.ok(&["migrate"]);
    assert_eq!(tenure.ok(&["client", "list", "--json"]), "");
}
