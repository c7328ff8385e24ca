//! Leads: work that one worker at a time does. A lead is an advisory lock of a session of its own, and ends with it: no other worker
//! waits for the end of a lease, and no two clocks are compared.

use sqlx::{Connection, PgConnection};

use super::sessions::Sessions;
use super::{numbering, servers};
use crate::store::Result;

/// Publishes changes over RabbitMQ.
pub(super) const RELAY: Lead = Lead {
    lock: 0x74_65_6e_75 << 32,
    application: "tenure relay",
};

/// Delivers changes to endpoints of webhooks.
pub(super) const DELIVERY: Lead = Lead {
    lock: 0x74_65_6e_77 << 32,
    application: "tenure webhooks",
};

/// Work that one worker at a time does.
pub(super) struct Lead {
    /// The upper half of the advisory lock: "tenu" or "tenw" in ASCII. The lower half is the schema of the tables: each schema may
    /// hold its own installation.
    lock: i64,
    /// The name of the leader's session.
    application: &'static str,
}

/// The settings of the leader's session, in addition to those of every session.
const SETTINGS: &str = "
    -- A worker without network must not hold the lead for the two hours of TCP's default.
    set tcp_keepalives_idle = 15;
    set tcp_keepalives_interval = 5;
    set tcp_keepalives_count = 3;
    -- The relay reads the journal after every transaction: by its key, with one cached plan.
    set enable_seqscan = off;
    set plan_cache_mode = force_generic_plan";

impl Lead {
    /// Acquires the lead, or checks that this worker still has it.
    pub(super) async fn acquire(&self, sessions: &Sessions, lead: &mut Option<PgConnection>) -> Result<bool> {
        if let Some(connection) = lead {
            // A demoted server keeps the session, but no change would ever come.
            if matches!(servers::is_writable(connection).await, Ok(true)) {
                return Ok(true);
            }
            *lead = None;
        }
        let mut connection = sessions.outside(self.application, SETTINGS).await?;
        let taken: bool = sqlx::query_scalar(
            "select pg_try_advisory_lock($1 | relnamespace::bigint)
         from pg_class
         where oid = 'relay'::regclass",
        )
        .bind(self.lock)
        .fetch_one(&mut connection)
        .await?;
        if taken {
            numbering::check(&mut connection).await?;
            *lead = Some(connection);
        } else {
            let _ = connection.close().await;
        }
        Ok(taken)
    }
}
