//! `tenure publish`: publishes events from a file or standard input to RabbitMQ.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::context::{Context, UsageError};
use super::ingest::max_line;
use super::lines::{Line, Lines};
use super::stop::{self, Signals};
use super::{output, shell};
use crate::broker::publisher::Publisher;
use crate::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  tenure publish events.ndjson\n  tenure publish events.ndjson --skip 1200"
)]
pub struct PublishArgs {
    /// File of CloudEvents in JSON, one per line or in an array; `-` reads standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also publish lines that are not valid events, unchanged
    #[arg(long)]
    unchecked: bool,
    /// Skip the first N events; an interrupted run prints the number to use
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

/// How long to wait for a confirm before printing a warning.
const SLOW_CONFIRM: Duration = Duration::from_secs(5);
/// How long to wait for outstanding confirms after a signal.
const CONFIRM_GRACE: Duration = Duration::from_secs(5);

/// Progress through a file. Events are numbered from 1, including skipped ones.
#[derive(Debug, Default)]
struct Progress {
    /// The last event read.
    read: u64,
    /// Events handed to RabbitMQ and not yet confirmed, in order.
    open: VecDeque<u64>,
    confirmed: u64,
    not_published: u64,
    /// Whether the warning about slow confirms was printed.
    is_slow: bool,
}

impl Progress {
    /// Records the number of confirms so far. RabbitMQ confirms in order.
    fn confirmed(&mut self, confirmed: u64) {
        while self.confirmed < confirmed {
            self.open.pop_front();
            self.confirmed += 1;
        }
    }

    /// The last event before the first unconfirmed one.
    fn done(&self) -> u64 {
        self.open.front().map_or(self.read, |first| first - 1)
    }

    /// Waits for RabbitMQ without a limit, with one warning if it is slow. None: a signal arrived, and the grace period for
    /// outstanding confirms is over.
    async fn wait<T>(&mut self, waiting: impl Future<Output = T>, signals: &Signals) -> Option<T> {
        let mut waiting = pin!(waiting);
        if !self.is_slow {
            tokio::select! {
                done = timeout(SLOW_CONFIRM, &mut waiting) => {
                    if let Ok(done) = done {
                        return Some(done);
                    }
                    self.is_slow = true;
                    output::error_line(
                        "RabbitMQ does not confirm; still waiting. It blocks publishers when memory or disk space is low: \
                         `rabbitmqctl status` shows its alarms",
                    );
                }
                () = signals.first.cancelled() => {}
            }
        }
        tokio::select! {
            done = &mut waiting => return Some(done),
            () = signals.first.cancelled() => {}
        }
        tokio::select! {
            done = timeout(CONFIRM_GRACE, waiting) => done.ok(),
            () = signals.second.cancelled() => None,
        }
    }
}

pub async fn publish(context: &Context, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let Some(url) = &context.settings.broker.url else {
        return Err(UsageError("no broker is configured; set AMQP_URL or broker.url".into()).into());
    };
    let mut lines = Lines::open(&args.file, "publish", "publishing", max_line(context)).await?;
    let skipped = lines.skip(args.skip).await?;
    if skipped < args.skip {
        let name = lines.name();
        return Err(UsageError(format!(
            "--skip {}: {name} has only {}",
            args.skip,
            output::counted(skipped, "event")
        ))
        .into());
    }
    let signals = stop::signals()?;
    let mut publisher = tokio::select! {
        connected = Publisher::connect(url.reveal(), &context.settings.broker) => connected?,
        () = signals.first.cancelled() => anyhow::bail!("stopped before publishing any event"),
    };
    let mut progress = Progress {
        read: args.skip,
        ..Progress::default()
    };
    let ended = publish_all(
        context,
        &args,
        &mut lines,
        &mut publisher,
        &mut progress,
        &signals,
    )
    .await;
    progress.confirmed(publisher.confirmed());
    let is_whole = matches!(ended, Ok(true));
    if is_whole {
        // All events are confirmed, so errors on closing the connection do not matter.
        let _ = timeout(CONFIRM_GRACE, publisher.finish()).await;
    }
    lines.bar.finish_and_clear();
    report(context, lines.name(), &progress, is_whole)?;
    ended?;
    Ok(if is_whole && progress.not_published == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Publishes to the end of the file, and waits for all confirms. False: interrupted by a signal.
async fn publish_all(
    context: &Context,
    args: &PublishArgs,
    lines: &mut Lines,
    publisher: &mut Publisher,
    progress: &mut Progress,
    signals: &Signals,
) -> anyhow::Result<bool> {
    loop {
        let line = tokio::select! {
            biased;
            () = signals.first.cancelled() => break,
            line = lines.next() => line?,
        };
        let Some(line) = line else {
            break;
        };
        progress.read += 1;
        lines.bar.inc(line.progress);
        if !publish_one(context, args, line, publisher, progress, signals).await? {
            return Ok(false);
        }
        progress.confirmed(publisher.confirmed());
    }
    match progress.wait(publisher.flush(), signals).await {
        Some(flushed) => flushed?,
        None => return Ok(false),
    }
    Ok(!signals.first.is_cancelled())
}

/// Publishes one event. False: interrupted by a signal while RabbitMQ does not accept it.
async fn publish_one(
    context: &Context,
    args: &PublishArgs,
    line: Line,
    publisher: &mut Publisher,
    progress: &mut Progress,
    signals: &Signals,
) -> anyhow::Result<bool> {
    let mut decoded = line.event(&context.decoder(SystemClock.now()));
    if let Some(Err(early)) = &decoded
        && let Some(time) = early.retry_at
    {
        output::error_line(format!("warning: {}: {}", line.origin, early.reason));
        decoded = line.event(&context.decoder(time));
    }
    let event = match decoded {
        None => return Ok(true),
        Some(Ok(decoded)) => Some(decoded.event),
        Some(Err(_)) if args.unchecked && line.is_whole() => None,
        Some(Err(dead_letter)) => {
            progress.not_published += 1;
            output::error_line(format!("{}: not published: {}", line.origin, dead_letter.reason));
            return Ok(true);
        }
    };
    progress.open.push_back(progress.read);
    let publishing = async {
        match &event {
            Some(event) => publisher.publish_event(event, line.bytes).await,
            None => publisher.publish_bytes(line.bytes).await,
        }
    };
    match progress.wait(publishing, signals).await {
        Some(done) => done?,
        None => return Ok(false),
    }
    Ok(true)
}

/// Prints the number of confirmed events and, if interrupted, the command that continues.
fn report(context: &Context, name: &str, progress: &Progress, is_whole: bool) -> anyhow::Result<()> {
    let (published, not_published) = (progress.confirmed, progress.not_published);
    if context.is_json() {
        let mut sum = serde_json::json!({ "published": published, "not_published": not_published });
        if !is_whole {
            sum["stopped_after"] = progress.done().into();
        }
        output::json(&sum)?;
    } else {
        output::line(format!(
            "{} published and confirmed",
            output::counted(published, "event")
        ));
        if is_whole && progress.read == 0 {
            output::error_line(format!("{name} is empty"));
        }
    }
    if !is_whole {
        output::error_line(format!(
            "stopped after {} of {name}; run `{}` to continue",
            output::counted(progress.done(), "event"),
            command_to_continue(std::env::args_os().skip(1), progress.done())
        ));
    }
    Ok(())
}

/// This command with `--skip` set to the number of events that are done.
fn command_to_continue(arguments: impl Iterator<Item = OsString>, skip: u64) -> String {
    let mut words = vec!["tenure".to_owned()];
    let mut is_number = false;
    // The position of `--`, before which options must stand.
    let mut end_of_options = None;
    for argument in arguments {
        if std::mem::take(&mut is_number) {
            continue;
        }
        is_number = argument == "--skip" && end_of_options.is_none();
        if argument == "--" {
            end_of_options.get_or_insert(words.len());
        }
        if !is_number && !argument.as_encoded_bytes().starts_with(b"--skip=") {
            words.push(shell::quoted(&argument));
        }
    }
    if skip > 0 {
        words.insert(end_of_options.unwrap_or(words.len()), format!("--skip {skip}"));
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_done_when_all_before_it_are_confirmed() {
        let mut progress = Progress {
            read: 9,
            open: [4, 6, 7].into(),
            ..Progress::default()
        };
        assert_eq!(progress.done(), 3);
        progress.confirmed(1);
        assert_eq!(progress.done(), 5, "5 is not an event");
        progress.confirmed(3);
        assert_eq!(progress.done(), 9);
    }

    #[test]
    fn the_command_to_continue_keeps_all_other_arguments() {
        let call = |arguments: &[&str], skip| command_to_continue(arguments.iter().map(OsString::from), skip);
        assert_eq!(
            call(&["publish", "a b.ndjson"], 7),
            "tenure publish 'a b.ndjson' --skip 7"
        );
        assert_eq!(
            call(
                &["--config", "x.toml", "publish", "--skip", "3", "f", "--json"],
                12
            ),
            "tenure --config x.toml publish f --json --skip 12"
        );
        assert_eq!(call(&["publish", "--skip=3", "f"], 0), "tenure publish f");
        assert_eq!(call(&["publish", "--", "-f"], 4), "tenure publish --skip 4 -- -f");
    }
}
