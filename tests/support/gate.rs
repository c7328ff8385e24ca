//! Gates that hold workers in the midst of their work until a test has done what must happen there. Whatever the pace
//! of the machine, they are not through before.

use super::site::Site;

/// Certain lines of the journal cannot be written until this is opened: whoever is about to, waits with its transaction
/// open.
pub struct Gate<'a> {
    site: &'a Site,
    number: usize,
}

impl<'a> Gate<'a> {
    /// Holds whoever writes a line for which this SQL holds, in which the line is `new`. The tables must be there, on a
    /// server of the site's own.
    pub fn close(site: &'a Site, lines: &str) -> Self {
        // Whoever comes here is visible until the transaction ends, by an advisory lock with the gate's number.
        site.sql(
            "create table if not exists gates (number int primary key);
             create or replace function wait_at_gate() returns trigger language plpgsql as $$
             begin
                 perform pg_advisory_xact_lock_shared('gates'::regclass::oid::int, tg_argv[0]::int);
                 while exists (select from gates where number = tg_argv[0]::int) loop
                     perform pg_sleep(0.01);
                 end loop;
                 return new;
             end $$",
        );
        let number = site.count("pg_trigger where tgfoid = 'wait_at_gate'::regproc");
        site.sql(&format!(
            "insert into gates values ({number});
             create trigger gate_{number} before insert on journal for each row when ({lines})
             execute function wait_at_gate('{number}')"
        ));
        Self { site, number }
    }

    /// Whether somebody waits here.
    pub fn holds_somebody(&self) -> bool {
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
