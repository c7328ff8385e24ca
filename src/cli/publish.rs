//! `tenure publish`: events from a file or standard input to RabbitMQ.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::timeout;

use super::context::{Context, WrongUse};
use super::ingest::longest_line;
use super::lines::{Line, Lines};
use super::stop::{self, Signals};
use super::{output, shell};
use crate::broker::publisher::Publisher;
use crate::clock::{Clock, SystemClock};

#[derive(Debug, Args)]
pub struct PublishArgs {
    /// A file of structured JSON events (CloudEvents), one a line or in an array; `-` is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Publish lines that cannot be events too, as they are.
    #[arg(long)]
    unchecked: bool,
    /// Pass over the first N events: a call that was cut off says how many RabbitMQ has confirmed.
    #[arg(long, value_name = "N", default_value_t = 0)]
    skip: u64,
}

/// How long RabbitMQ may take to confirm before we say that we wait for it.
const SLOW: Duration = Duration::from_secs(5);
/// How long RabbitMQ may take to confirm what is under way after a signal.
const LAST: Duration = Duration::from_secs(5);

/// How far a file has been published. Events count from 1, those that were passed over included.
#[derive(Debug, Default)]
struct Course {
    /// The last one that was read.
    read: u64,
    /// Those that were handed over and are not confirmed yet, in order.
    open: VecDeque<u64>,
    confirmed: u64,
    not_published: u64,
    /// That we wait for RabbitMQ was said.
    is_slow: bool,
}

impl Course {
    /// The publisher has seen so many confirms, always of the oldest that was open.
    fn confirmed(&mut self, confirmed: u64) {
        while self.confirmed < confirmed {
            self.open.pop_front();
            self.confirmed += 1;
        }
    }

    /// Up to which event there is nothing left to do.
    fn done(&self) -> u64 {
        self.open.front().map_or(self.read, |first| first - 1)
    }

    /// Waits for RabbitMQ as long as it takes; when that is long, says so once. None: a signal came, and what was waited
    /// for did not end soon after.
    async fn wait<T>(&mut self, waiting: impl Future<Output = T>, signals: &Signals) -> Option<T> {
        let mut waiting = pin!(waiting);
        if !self.is_slow {
            tokio::select! {
                done = timeout(SLOW, &mut waiting) => {
                    if let Ok(done) = done {
                        return Some(done);
                    }
                    self.is_slow = true;
                    output::complain(
                        "RabbitMQ does not confirm; waiting for it. Where it is short of memory or disk it holds \
                         publishers back: `rabbitmqctl status` shows its alarms",
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
            done = timeout(LAST, waiting) => done.ok(),
            () = signals.second.cancelled() => None,
        }
    }
}

pub async fn publish(context: &Context, args: PublishArgs) -> anyhow::Result<ExitCode> {
    let Some(url) = &context.settings.broker.url else {
        return Err(WrongUse("there is no broker to publish to: set AMQP_URL or broker.url".into()).into());
    };
    let mut lines = Lines::open(&args.file, "publish", "publishing", longest_line(context)).await?;
    let skipped = lines.skip(args.skip).await?;
    if skipped < args.skip {
        let name = lines.name();
        return Err(WrongUse(format!("--skip {}: {name} has {skipped} events only", args.skip)).into());
    }
    let signals = stop::signals()?;
    let mut publisher = tokio::select! {
        connected = Publisher::connect(url.reveal(), &context.settings.broker) => connected?,
        () = signals.first.cancelled() => anyhow::bail!("stopped before anything was published"),
    };
    let mut course = Course {
        read: args.skip,
        ..Course::default()
    };
    let ended = publish_all(context, &args, &mut lines, &mut publisher, &mut course, &signals).await;
    course.confirmed(publisher.confirmed());
    let is_whole = matches!(ended, Ok(true));
    if is_whole {
        // Everything is confirmed: how the connection ends makes no difference.
        let _ = timeout(LAST, publisher.finish()).await;
    }
    lines.bar.finish_and_clear();
    report(context, lines.name(), &course, is_whole)?;
    ended?;
    Ok(if is_whole && course.not_published == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Publishes until the end of the file, and waits for all confirms. False: a signal came before.
async fn publish_all(
    context: &Context,
    args: &PublishArgs,
    lines: &mut Lines,
    publisher: &mut Publisher,
    course: &mut Course,
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
        course.read += 1;
        lines.bar.inc(line.progress);
        if !publish_one(context, args, line, publisher, course, signals).await? {
            return Ok(false);
        }
        course.confirmed(publisher.confirmed());
    }
    match course.wait(publisher.flush(), signals).await {
        Some(flushed) => flushed?,
        None => return Ok(false),
    }
    Ok(!signals.first.is_cancelled())
}

/// Hands one event over. False: a signal came, and RabbitMQ does not take it.
async fn publish_one(
    context: &Context,
    args: &PublishArgs,
    line: Line,
    publisher: &mut Publisher,
    course: &mut Course,
    signals: &Signals,
) -> anyhow::Result<bool> {
    let event = match line.event(&context.decoder(SystemClock.now())) {
        None => return Ok(true),
        Some(Ok(event)) => Some(event),
        Some(Err(_)) if args.unchecked && line.is_whole() => None,
        Some(Err(dead_letter)) => {
            course.not_published += 1;
            output::complain(format!("{}: not published: {}", line.origin, dead_letter.reason));
            return Ok(true);
        }
    };
    course.open.push_back(course.read);
    let publishing = async {
        match &event {
            Some(event) => publisher.publish_event(event, line.bytes).await,
            None => publisher.publish_bytes(line.bytes).await,
        }
    };
    match course.wait(publishing, signals).await {
        Some(done) => done?,
        None => return Ok(false),
    }
    Ok(true)
}

/// Says how much RabbitMQ has confirmed and, where that is not all, how to go on.
fn report(context: &Context, name: &str, course: &Course, is_whole: bool) -> anyhow::Result<()> {
    let (published, not_published) = (course.confirmed, course.not_published);
    if context.json {
        let mut sum = serde_json::json!({ "published": published, "not_published": not_published });
        if !is_whole {
            sum["stopped_after"] = course.done().into();
        }
        output::json(&sum)?;
    } else {
        output::line(format!("{published} events published and confirmed"));
        if is_whole && course.read == 0 {
            output::complain(format!("{name} is empty"));
        }
    }
    if !is_whole {
        output::complain(format!(
            "stopped after {} events of {name}; `{}` goes on",
            course.done(),
            again(std::env::args_os().skip(1), course.done())
        ));
    }
    Ok(())
}

/// This call once more, for the events behind the first so many.
fn again(arguments: impl Iterator<Item = OsString>, skip: u64) -> String {
    let mut words = vec!["tenure".to_owned()];
    let mut is_number = false;
    // Options stand before `--`.
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
    fn only_what_was_confirmed_in_a_row_is_done() {
        let mut course = Course {
            read: 9,
            open: [4, 6, 7].into(),
            ..Course::default()
        };
        assert_eq!(course.done(), 3);
        course.confirmed(1);
        assert_eq!(course.done(), 5, "5 was no event");
        course.confirmed(3);
        assert_eq!(course.done(), 9);
    }

    #[test]
    fn the_same_call_goes_on() {
        let call = |arguments: &[&str], skip| again(arguments.iter().map(OsString::from), skip);
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
