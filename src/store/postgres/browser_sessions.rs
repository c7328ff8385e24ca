//! The sessions of browsers that are signed in to the console.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::Connection;

use super::{PostgresStore, audit};
use crate::store::browser_sessions::BrowserSessionRow;
use crate::store::{AuditEntry, BrowserSession, BrowserSessions, EndedSessions, Result, SessionDigest};

#[async_trait]
impl BrowserSessions for PostgresStore {
    async fn add_browser_session(&self, session: &BrowserSession, entry: &AuditEntry) -> Result<()> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            sqlx::query("delete from browser_sessions where expires_at <= $1")
                .bind(session.created_at)
                .execute(&mut *transaction)
                .await?;
            sqlx::query(
                "insert into browser_sessions (digest, token, token_digest, created_at, seen_at, expires_at)
                 values ($1, $2, $3, $4, $5, $6)",
            )
            .bind(&session.digest[..])
            .bind(&session.token)
            .bind(&session.token_digest[..])
            .bind(session.created_at)
            .bind(session.seen_at)
            .bind(session.expires_at)
            .execute(&mut *transaction)
            .await?;
            audit::add(&mut *transaction, entry).await?;
            transaction.commit().await?;
            Ok(())
        })
        .await
    }

    async fn browser_session(&self, digest: &SessionDigest) -> Result<Option<BrowserSession>> {
        self.in_time(async {
            let session: Option<BrowserSessionRow<DateTime<Utc>>> = sqlx::query_as(
                "select digest, token, token_digest, created_at, seen_at, expires_at
                 from browser_sessions
                 where digest = $1",
            )
            .bind(&digest[..])
            .fetch_optional(&self.pool)
            .await?;
            session.map(BrowserSessionRow::read).transpose()
        })
        .await
    }

    async fn use_browser_session(&self, digest: &SessionDigest, at: DateTime<Utc>) -> Result<()> {
        self.in_time(async {
            sqlx::query("update browser_sessions set seen_at = greatest(seen_at, $2) where digest = $1")
                .bind(&digest[..])
                .bind(at)
                .execute(&self.pool)
                .await?;
            Ok(())
        })
        .await
    }

    async fn end_browser_sessions(&self, which: &EndedSessions, entry: &AuditEntry) -> Result<u64> {
        self.in_time(async {
            let mut connection = self.pool.acquire().await?;
            let mut transaction = connection.begin().await?;
            let statement = match which {
                EndedSessions::One(digest) => {
                    sqlx::query("delete from browser_sessions where digest = $1").bind(&digest[..])
                }
                EndedSessions::OfToken(token) => {
                    sqlx::query("delete from browser_sessions where token = $1").bind(token)
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
