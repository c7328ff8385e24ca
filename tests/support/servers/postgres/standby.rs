//! A standby of a PostgreSQL server, and servers that accept no writes.

use std::fs;
use std::process::{Command, Stdio};

use super::super::is_root;
use super::super::process::new_folder;
use super::Postgres;
use super::programs::{as_server_user, server_user};

impl Postgres {
    /// Starts a hot standby of this server, which follows until it is promoted. Replication is synchronous: a commit here
    /// waits for the standby.
    pub fn standby(&self) -> Self {
        let folder = new_folder("standby");
        let mut command = as_server_user(&self.programs.join("pg_basebackup"));
        command
            .args(["--host=127.0.0.1", "--username=postgres", "--write-recovery-conf"])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(format!("--port={}", self.port))
            .arg("--pgdata")
            .arg(folder.join("data"));
        if is_root() {
            let owned = Command::new("chown").arg(server_user()).arg(&folder).status();
            assert!(
                owned.is_ok_and(|status| status.success()),
                "chown {}",
                folder.display()
            );
        }
        let copied = command.current_dir(&folder).stdin(Stdio::null()).output();
        let copied = copied.expect("pg_basebackup can be started");
        assert!(
            copied.status.success(),
            "{}",
            String::from_utf8_lossy(&copied.stderr)
        );
        let standby =
            Self::launch_on(self.programs.clone(), folder, &[]).unwrap_or_else(|why| panic!("{why}"));
        self.sql("postgres", "alter system set synchronous_standby_names = '*'");
        self.sql("postgres", "select pg_reload_conf()");
        standby.wait_until("a synchronous standby", || {
            self.sql("postgres", "select sync_state from pg_stat_replication") == "sync"
        });
        standby
    }

    /// Promotes a standby to primary. Returns when it accepts writes.
    pub fn promote(&self) {
        self.sql("postgres", "alter system reset synchronous_standby_names");
        assert_eq!(self.sql("postgres", "select pg_promote()"), "t");
    }

    /// Makes new transactions read-only, in open sessions too. The sessions stay open.
    pub fn turn_read_only(&self) {
        self.sql("postgres", "alter system set default_transaction_read_only = on");
        self.sql("postgres", "select pg_reload_conf()");
        self.wait_until("a read-only server", || {
            self.sql("postgres", "show transaction_read_only") == "on"
        });
    }

    /// Starts the stopped server read-only, as a demoted primary.
    pub fn start_read_only(&self) {
        let settings = self.folder.join("data/postgresql.auto.conf");
        let mut text = fs::read_to_string(&settings).expect("the server's settings");
        text.push_str("default_transaction_read_only = on\nsynchronous_standby_names = ''\n");
        fs::write(&settings, text).expect("the server's settings");
        self.start();
    }
}
