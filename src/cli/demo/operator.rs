//! What the operators of the demo do, so that the console has something to show.

use chrono::{DateTime, Datelike, Utc};

use crate::domain::{Month, Sweep};
use crate::engine::{Authority, CloseRequest, Engine};
use crate::store::AuditHow;

/// The day of a month on which the month before is closed.
const CLOSED_ON: u32 = 5;

fn by(who: &str, reason: &str) -> Authority {
    Authority {
        who: who.into(),
        how: AuditHow::Console,
        reason: Some(reason.into()),
        request_id: None,
    }
}

/// Closes the month before, unless it is the last one of the year, which the reader may close.
pub async fn act(engine: &Engine, now: DateTime<Utc>, end: DateTime<Utc>) -> anyhow::Result<()> {
    let month = Month::of(now).previous();
    if now.day() != CLOSED_ON || month >= Month::of(end).previous() {
        return Ok(());
    }
    let authority = by("petra", "the partners have confirmed their numbers");
    let request = CloseRequest {
        month,
        by: "petra".parse()?,
        // Some apps deliver late: their events become adjustments.
        confirmed: true,
        most: None,
    };
    engine
        .operator(&authority)
        .close_month(&request, |_, _| {})
        .await?;
    Ok(())
}

/// What is left at the end of the year.
pub async fn leave(engine: &Engine) -> anyhow::Result<()> {
    let authority = by("ann", "the partner space imports old subscriptions until Friday");
    engine
        .operator(&authority)
        .pause_sweep(Sweep::SubscriptionEnd)
        .await?;
    Ok(())
}
