//! Databases of a PostgreSQL server: created, queried, backed up and restored.

use std::path::Path;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::super::unique_name;
use super::Postgres;
use super::programs::succeed;

impl Postgres {
    /// Creates an empty database for one test and returns its URL. `hint` becomes a part of its name.
    pub fn database(&self, hint: &str) -> String {
        self.create_database(hint, "template1")
    }

    /// Creates a database for one test as a copy of a template, and returns its URL.
    ///
    /// The first call on a server makes the template: `prepare` gets its URL, applies the migrations, and must leave no
    /// connection open. It runs on its own thread, so that it may start a runtime even if the test has one.
    pub fn prepared_database(&self, hint: &str, prepare: impl FnOnce(&str) + Send) -> String {
        const TEMPLATE: &str = "prepared_template";
        {
            // A panic in `prepare` poisons the lock. The next test then tries again and fails with the same message.
            let mut made = self.template.lock().unwrap_or_else(PoisonError::into_inner);
            if !*made {
                self.sql("postgres", &format!("drop database if exists {TEMPLATE}"));
                self.sql("postgres", &format!("create database {TEMPLATE}"));
                let url = self.url(TEMPLATE);
                std::thread::scope(|scope| {
                    scope
                        .spawn(|| prepare(&url))
                        .join()
                        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                });
                *made = true;
            }
        }
        self.create_database(hint, TEMPLATE)
    }

    fn create_database(&self, hint: &str, template: &str) -> String {
        let name = unique_name(hint, self.databases.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name} template {template}"));
        self.url(&name)
    }

    /// Runs SQL in a database with psql, as superuser. Returns the rows, with their fields separated by `|`.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let done = self.psql(database, statements);
        done.unwrap_or_else(|why| panic!("psql on {database}: {why}\n{statements}"))
    }

    /// Backs up a database to a file with `pg_dump`.
    pub fn dump(&self, database: &str, file: &Path) {
        let mut command = self.client("pg_dump");
        command.args(["--format=custom", "--file"]).arg(file);
        command.arg("--dbname").arg(self.url(database));
        succeed(command);
    }

    /// Restores a backup into a new database of this name.
    pub fn restore(&self, database: &str, file: &Path) {
        self.sql("postgres", &format!("create database {database}"));
        let mut command = self.client("pg_restore");
        command
            .args(["--single-transaction", "--dbname"])
            .arg(self.url(database));
        command.arg(file);
        succeed(command);
    }

    /// Replaces the contents of a database with a backup.
    pub fn restore_over(&self, database: &str, file: &Path) {
        let mut command = self.client("pg_restore");
        command.args(["--clean", "--if-exists", "--single-transaction", "--dbname"]);
        command.arg(self.url(database)).arg(file);
        succeed(command);
    }

    /// Terminates all connections to a database, as an administrator would. Returns their number.
    pub fn close_all_connections(&self, database: &str) -> usize {
        let terminate = format!(
            "select pg_terminate_backend(pid) from pg_stat_activity \
             where datname = '{database}' and pid <> pg_backend_pid()"
        );
        self.sql("postgres", &terminate).lines().count()
    }
}
