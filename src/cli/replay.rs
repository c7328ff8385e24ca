//! `tenure replay`: publishes past changes to one queue, in order and confirmed, marked as replayed.

use std::collections::VecDeque;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::context::{Context, UsageError};
use super::place::parse_place;
use super::subscribe::{parse_queue, parse_type};
use super::{output, stop};
use crate::broker::publisher::{Outgoing, Publisher};
use crate::broker::subscription;
use crate::domain::id::check_id;
use crate::domain::kinds_of_any;
use crate::domain::time::rfc3339;
use crate::engine::{DeliveryStart, Engine, FeedStart};
use crate::store::{FeedCursor, FeedFilter, FeedGap, FeedPage};

/// Changes that are read at a time.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure replay --from 2026-03-01T00:00:00Z --to billing-past --type 'billing.*'\n  tenure replay --from beginning --to mirror-past --partner acme"
)]
pub struct ReplayArgs {
    /// Where to begin: after a cursor of the feed, at a time of recording, or at the `beginning`
    #[arg(long, value_name = "CURSOR|TIME", value_parser = parse_place, allow_hyphen_values = true)]
    from: DeliveryStart,
    /// The queue, which must have no bindings: `tenure subscribe QUEUE --no-bindings` declares it
    #[arg(long, value_name = "QUEUE", value_parser = parse_queue)]
    to: String,
    /// Only changes of clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Only changes of this type; `access.*` stands for all types that begin with `access.`. May be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    types: Vec<String>,
}

pub async fn run(context: &Context, args: ReplayArgs) -> anyhow::Result<ExitCode> {
    let filter = filter(&args)?;
    let Some(url) = &context.settings.broker.url else {
        return Err(UsageError("broker.url is empty; set AMQP_URL to the URL of RabbitMQ".into()).into());
    };
    let engine = context.engine().await?;
    let stop = stop::on_signal()?;
    subscription::messages(&context.settings.broker, &args.to)
        .await
        .map_err(|error| {
            anyhow::anyhow!(
                "{error}; declare the queue with `tenure subscribe {} --no-bindings`",
                args.to
            )
        })?;
    let mut replay = Replay {
        publisher: Publisher::connect(url.reveal(), &context.settings.broker).await?,
        queue: args.to.clone(),
        // Later changes are for the queue that is bound to them.
        end: engine.feed_place(FeedStart::Latest).await?,
        open: VecDeque::new(),
        confirmed: 0,
        done: None,
    };
    let authority = context.authority();
    let details = json!({ "partner": args.partner, "types": args.types });
    engine
        .operator(&authority)
        .record("replay", Some(args.to.clone()), details)
        .await?;
    let ended = replay.publish(&engine, &args, &filter, &stop).await;
    let ended = match ended {
        Ok(is_whole) => replay
            .publisher
            .flush()
            .await
            .map(|()| is_whole)
            .map_err(Into::into),
        error => error,
    };
    replay.count_confirmed();
    let rest = match &ended {
        Ok(true) => Rest::None,
        // From that place it would fail again.
        Err(error) if error.is::<ReplayGap>() => Rest::Gone,
        _ => Rest::Some,
    };
    report(context, &args, &replay, rest)?;
    Ok(if ended? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

struct Replay {
    publisher: Publisher,
    queue: String,
    /// The end of the feed when the replay began.
    end: FeedCursor,
    /// The places of changes that RabbitMQ has not confirmed, in order.
    open: VecDeque<FeedCursor>,
    confirmed: u64,
    /// The place after the last confirmed change.
    done: Option<FeedCursor>,
}

impl Replay {
    /// Publishes to the end. False: a signal came before.
    async fn publish(
        &mut self,
        engine: &Engine,
        args: &ReplayArgs,
        filter: &FeedFilter,
        stop: &CancellationToken,
    ) -> anyhow::Result<bool> {
        let mut after = engine.feed_place(place(args.from)).await?;
        while after.0.cursor < self.end.0.cursor {
            let page = engine.feed(&after, filter, PAGE).await?;
            check(&page, args.from)?;
            for line in &page.lines {
                if line.cursor > self.end.0.cursor {
                    return Ok(true);
                }
                if stop.is_cancelled() {
                    return Ok(false);
                }
                if matches!(args.from, DeliveryStart::At(time) if line.recorded_at < time) {
                    continue;
                }
                let change =
                    Outgoing::change(page.epoch, line, engine.schemas(), None).replayed_to(&self.queue);
                self.open.push_back(FeedCursor(line.published(page.epoch)));
                self.publisher.publish(change).await?;
                self.count_confirmed();
            }
            after = page.next;
            if !page.more {
                break;
            }
        }
        Ok(true)
    }

    fn count_confirmed(&mut self) {
        while self.confirmed < self.publisher.confirmed() {
            self.done = self.open.pop_front();
            self.confirmed += 1;
        }
    }
}

fn filter(args: &ReplayArgs) -> anyhow::Result<FeedFilter> {
    if let Some(partner) = &args.partner {
        check_id("partner", partner).map_err(|error| UsageError(error.to_string()))?;
    }
    let patterns = args.types.iter().map(String::as_str);
    Ok(FeedFilter {
        partner: args.partner.clone(),
        client: None,
        // Checked when the arguments were read.
        kinds: kinds_of_any(patterns).unwrap_or_default(),
    })
}

/// The place from which the feed is read.
fn place(from: DeliveryStart) -> FeedStart {
    match from {
        DeliveryStart::Place(place) => place,
        DeliveryStart::At(_) => FeedStart::Beginning,
    }
}

/// The journal lacks changes of the replay. To continue would leave them out.
#[derive(Debug, thiserror::Error)]
enum ReplayGap {
    #[error(
        "changes recorded before {before} are no longer stored (retention.journal): replay the later ones with `--from {before}`, or \
         begin with a snapshot (GET /v1/snapshot)",
        before = rfc3339(*before)
    )]
    Pruned { before: DateTime<Utc> },
    #[error(
        "the store has no such place: it was restored from a backup, or the cursor belongs to another store; begin with a snapshot \
         (GET /v1/snapshot)"
    )]
    Restored,
}

fn check(page: &FeedPage, from: DeliveryStart) -> Result<(), ReplayGap> {
    match (page.gap, from) {
        (None, _) => Ok(()),
        // None of the removed changes is wanted.
        (Some(FeedGap::Pruned { before, .. }), DeliveryStart::At(time)) if before <= time => Ok(()),
        (Some(FeedGap::Pruned { before, .. }), _) => Err(ReplayGap::Pruned { before }),
        (Some(FeedGap::Restored), _) => Err(ReplayGap::Restored),
    }
}

/// What a replay has left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rest {
    None,
    /// Changes that another run can publish.
    Some,
    /// Changes of which some are no longer stored.
    Gone,
}

fn report(context: &Context, args: &ReplayArgs, replay: &Replay, rest: Rest) -> anyhow::Result<()> {
    if context.is_json() {
        let mut sum = serde_json::json!({ "published": replay.confirmed });
        if rest == Rest::Some
            && let Some(done) = &replay.done
        {
            sum["continue_from"] = done.to_string().into();
        }
        output::json(&sum)?;
    } else {
        let changes = output::counted(replay.confirmed, "change");
        output::line(format!("{changes} published to {} and confirmed", args.to));
    }
    if rest == Rest::Some {
        output::error_line(match &replay.done {
            Some(done) => format!("stopped; run the same command with `--from {done}` to continue"),
            None => "stopped before any change was confirmed; run the same command again".to_owned(),
        });
    }
    Ok(())
}
