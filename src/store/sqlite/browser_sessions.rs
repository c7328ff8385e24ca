//! The sessions of browsers that are signed in to the console.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::session::Transaction;
use super::{SqliteStore, audit, micros};
use crate::store::browser_sessions::BrowserSessionRow;
use crate::store::{AuditEntry, BrowserSession, BrowserSessions, EndedSessions, Result, SessionDigest};

#[async_trait]
impl BrowserSessions for SqliteStore {
    async fn add_browser_session(&self, session: &BrowserSession, entry: &AuditEntry) -> Result<()> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            sqlx::query("delete from browser_sessions where expires_at <= ?1")
                .bind(micros(session.created_at))
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "insert into browser_sessions (digest, token, token_digest, created_at, seen_at, expires_at)
                 values (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .bind(&session.digest[..])
            .bind(&session.token)
            .bind(&session.token_digest[..])
            .bind(micros(session.created_at))
            .bind(micros(session.seen_at))
            .bind(micros(session.expires_at))
            .execute(&mut *transaction)
            .await?;
            audit::add(&mut *transaction, entry).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn browser_session(&self, digest: &SessionDigest) -> Result<Option<BrowserSession>> {
        let session: Option<BrowserSessionRow<i64>> = sqlx::query_as(
            "select digest, token, token_digest, created_at, seen_at, expires_at
             from browser_sessions
             where digest = ?1",
        )
        .bind(&digest[..])
        .fetch_optional(&self.readers)
        .await?;
        session.map(BrowserSessionRow::read).transpose()
    }

    async fn use_browser_session(&self, digest: &SessionDigest, at: DateTime<Utc>) -> Result<()> {
        self.in_turn(async {
            sqlx::query("update browser_sessions set seen_at = max(seen_at, ?2) where digest = ?1")
                .bind(&digest[..])
                .bind(micros(at))
                .execute(&self.writer)
                .await?;
            Ok(())
        })
        .await
    }

    async fn end_browser_sessions(&self, which: &EndedSessions, entry: &AuditEntry) -> Result<u64> {
        self.in_turn(async {
            let mut transaction = Transaction::begin(&self.writer).await?;
            let statement = match which {
                EndedSessions::One(digest) => {
                    sqlx::query("delete from browser_sessions where digest = ?1").bind(&digest[..])
                }
                EndedSessions::OfToken(token) => {
                    sqlx::query("delete from browser_sessions where token = ?1").bind(token)
                }
            };
            let ended = statement.execute(&mut *transaction).await?.rows_affected();
            if ended > 0 {
                audit::add(&mut *transaction, entry).await?;
            }
            transaction.commit().await?;
            Ok(ended)
        })
        .await
    }
}
