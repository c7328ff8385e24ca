//! `tenure replay`: publishes past changes to one queue, in order and confirmed, marked as replayed.

use std::collections::VecDeque;
use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::context::{Context, UsageError};
use super::subscribe::{parse_queue, parse_type};
use super::{output, stop};
use crate::broker::publisher::{Outgoing, Publisher};
use crate::broker::subscription;
use crate::domain::id::check_id;
use crate::domain::time::rfc3339;
use crate::engine::{Engine, FeedStart, kinds_of};
use crate::store::{FeedCursor, FeedFilter, FeedGap, FeedPage};

/// Changes that are read at a time.
const PAGE: u32 = 500;

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure replay --from 2026-03-01T00:00:00Z --to billing --type 'billing.*'\n  tenure replay --from beginning --to mirror --partner acme"
)]
pub struct ReplayArgs {
    /// Where to begin: after a cursor of the feed, at a time of recording (RFC 3339), or at the `beginning`
    #[arg(long, value_name = "CURSOR|TIME", value_parser = parse_from)]
    from: ReplayFrom,
    /// The queue; `tenure subscribe` declares it
    #[arg(long, value_name = "QUEUE", value_parser = parse_queue)]
    to: String,
    /// Only changes of clients of this partner
    #[arg(long)]
    partner: Option<String>,
    /// Only changes of this type; `access.*` stands for all types that begin with `access.`. May be repeated
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_type)]
    types: Vec<String>,
}

#[derive(Clone, Copy, Debug)]
enum ReplayFrom {
    Beginning,
    After(FeedCursor),
    At(DateTime<Utc>),
}

/// For clap.
fn parse_from(text: &str) -> Result<ReplayFrom, UsageError> {
    if text == "beginning" {
        return Ok(ReplayFrom::Beginning);
    }
    if let Ok(cursor) = text.parse() {
        return Ok(ReplayFrom::After(cursor));
    }
    text.parse()
        .map(ReplayFrom::At)
        .map_err(|_| UsageError("expected a cursor of the feed, an RFC 3339 time, or beginning".into()))
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
        .map_err(|error| anyhow::anyhow!("{error}; declare the queue with `tenure subscribe {}`", args.to))?;
    let mut replay = Replay {
        publisher: Publisher::connect(url.reveal(), &context.settings.broker).await?,
        queue: args.to.clone(),
        // Later changes reach the queue by its bindings.
        end: engine.feed_place(FeedStart::Latest).await?,
        open: VecDeque::new(),
        confirmed: 0,
        done: None,
    };
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
    report(context, &args, &replay, matches!(ended, Ok(true)))?;
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
        let mut after = place(engine, args.from).await?;
        while after.0.cursor < self.end.0.cursor {
            let page = engine.feed(&after, filter, PAGE).await?;
            check(&page)?;
            for line in &page.lines {
                if line.cursor > self.end.0.cursor {
                    return Ok(true);
                }
                if stop.is_cancelled() {
                    return Ok(false);
                }
                if matches!(args.from, ReplayFrom::At(time) if line.recorded_at < time) {
                    continue;
                }
                let change = Outgoing::change(page.epoch, line).replayed_to(&self.queue);
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
    let kinds = args.types.iter().filter_map(|pattern| kinds_of(pattern));
    Ok(FeedFilter {
        partner: args.partner.clone(),
        client: None,
        kinds: kinds.flatten().collect(),
    })
}

/// The place from which the feed is read.
async fn place(engine: &Engine, from: ReplayFrom) -> anyhow::Result<FeedCursor> {
    let beginning = engine.feed_place(FeedStart::Beginning).await?;
    let time = match from {
        ReplayFrom::After(cursor) => return Ok(cursor),
        ReplayFrom::Beginning => return Ok(beginning),
        ReplayFrom::At(time) => time,
    };
    let oldest = engine.feed(&beginning, &FeedFilter::default(), 1).await?;
    let Some(line) = oldest.lines.first().filter(|_| oldest.gap.is_some()) else {
        return Ok(beginning);
    };
    anyhow::ensure!(
        line.recorded_at < time,
        "changes before {} are no longer stored (retention.journal); replay from a later time, or begin with a snapshot \
         (GET /v1/snapshot)",
        rfc3339(line.recorded_at)
    );
    // Before the time, as every change that was removed.
    Ok(oldest.next)
}

fn check(page: &FeedPage) -> anyhow::Result<()> {
    match page.gap {
        None => Ok(()),
        Some(FeedGap::Pruned) => anyhow::bail!(
            "changes after this place are no longer stored (retention.journal); begin with a snapshot (GET /v1/snapshot)"
        ),
        Some(FeedGap::Restored) => anyhow::bail!(
            "the store has no such place: it was restored from a backup, or the cursor belongs to another store; begin with a \
             snapshot (GET /v1/snapshot)"
        ),
    }
}

fn report(context: &Context, args: &ReplayArgs, replay: &Replay, is_whole: bool) -> anyhow::Result<()> {
    if context.json {
        let mut sum = serde_json::json!({ "published": replay.confirmed });
        if !is_whole && let Some(done) = &replay.done {
            sum["continue_from"] = done.to_string().into();
        }
        output::json(&sum)?;
    } else {
        let changes = output::counted(replay.confirmed, "change");
        output::line(format!("{changes} published to {} and confirmed", args.to));
    }
    if !is_whole {
        output::error_line(match &replay.done {
            Some(done) => format!("stopped; run the same command with `--from {done}` to continue"),
            None => "stopped before any change was confirmed; run the same command again".to_owned(),
        });
    }
    Ok(())
}
