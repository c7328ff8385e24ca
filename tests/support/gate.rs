//! Gates that block a worker's transaction until the test opens them, so that a test can act in the middle of a batch or a
//! sweep at any speed of the machine.

use super::site::Site;

/// Blocks transactions that write certain lines of the journal until it is opened.
pub struct Gate<'a> {
    site: &'a Site,
    number: usize,
}

impl<'a> Gate<'a> {
    /// Blocks transactions that write a line which matches this SQL condition on its `client`, `change` and `id`. The tables
    /// must exist, on the site's own server.
    pub fn close(site: &'a Site, lines: &str) -> Self {
        // A blocked transaction holds an advisory lock with the gate's number until it ends.
        site.sql(
            "create table if not exists gates (number int primary key);
             create or replace function wait_at_gate() returns trigger language plpgsql as $$
             declare
                 matches boolean;
             begin
                 execute 'select ' || tg_argv[1] || ' from client_keys k, words w, lateral (
                              select k.client, w.word as change, ($1).id
                          ) line where k.number = ($1).client and w.number = ($1).change'
                 into matches using new;
                 if matches is not true then
                     return new;
                 end if;
                 perform pg_advisory_xact_lock_shared('gates'::regclass::oid::int, tg_argv[0]::int);
                 while exists (select from gates where number = tg_argv[0]::int) loop
                     perform pg_sleep(0.01);
                 end loop;
                 return new;
             end $$",
        );
        let lines = lines.replace('\'', "''");
        let number = site.count("pg_trigger where tgfoid = 'wait_at_gate'::regproc");
        site.sql(&format!(
            "insert into gates values ({number});
             create trigger gate_{number} before insert on journal for each row
             execute function wait_at_gate('{number}', '{lines}')"
        ));
        Self { site, number }
    }

    /// Whether a transaction waits at this gate.
    pub fn is_reached(&self) -> bool {
        let number = self.number;
        let waiting = format!(
            "pg_locks where locktype = 'advisory' and classid = 'gates'::regclass and objid = {number}
             and database = (select oid from pg_database where datname = current_database())"
        );
        self.site.count(&waiting) > 0
    }

    pub fn open(self) {
        let number = self.number;
        self.site
            .sql(&format!("delete from gates where number = {number}"));
    }
}
