//! Runs `tenure top` on a terminal: reads figures, draws them, listens to keys and signals, and restores the terminal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use ratatui::DefaultTerminal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, mpsc};

use super::figures::{Figures, Reader};
use super::keys::{self, Command};
use super::screen::{Screen, draw};
use crate::cli::output;
use crate::engine::{Engine, ExpiryCounts};
use crate::signals;
use crate::store::StoreError;

/// How long a count of expiries is reused, as in the console.
const EXPIRIES_FRESH_FOR: Duration = Duration::from_mins(5);
/// How often the screen is drawn without news: it shows how long the store has been away.
const REDRAW: Duration = Duration::from_secs(1);

/// The terminal while it is drawn on. It is restored when this is dropped; a panic restores it before its message is printed.
pub struct Drawing(DefaultTerminal);

impl Drawing {
    /// # Errors
    /// Standard output is no terminal.
    pub fn begin() -> anyhow::Result<Self> {
        ratatui::try_init()
            .map(Self)
            .inspect_err(|_| ratatui::restore())
            .context("the terminal cannot be drawn on; `tenure top -o json` prints the figures once")
    }

    /// # Errors
    /// The terminal is gone.
    pub fn draw(&mut self, screen: &Screen) -> anyhow::Result<()> {
        self.0
            .draw(|frame| draw(frame, screen))
            .context("the terminal cannot be drawn on")?;
        Ok(())
    }
}

impl Drop for Drawing {
    fn drop(&mut self) {
        let _ = self.0.show_cursor();
        ratatui::restore();
    }
}

/// News from the store.
enum News {
    /// A read has begun.
    Begun(Instant),
    Read(Result<Box<Figures>, StoreError>),
    Expiries(ExpiryCounts),
}

/// Shows figures until a key or a signal ends it.
pub(super) async fn run(reader: Reader, place: String, every: Duration) -> anyhow::Result<()> {
    let mut hangup = signal(SignalKind::hangup()).context("the process cannot listen for signals")?;
    let signals = signals::listen(|| {}).context("the process cannot listen for signals")?;
    let refresh = Arc::new(Notify::new());
    let recount = Arc::new(Notify::new());
    let (sender, mut news) = mpsc::channel(4);
    let mut counting = tokio::spawn(count(reader.engine.clone(), recount.clone(), sender.clone()));
    let mut reading = tokio::spawn(read(reader, every, refresh.clone(), sender));
    let mut screen = Screen::new(place, every, output::is_coloured());
    let mut drawing = Drawing::begin()?;
    let mut keys = keys::listen();
    let result = loop {
        if let Err(error) = drawing.draw(&screen) {
            break Err(error);
        }
        let command = tokio::select! {
            biased;
            () = signals.first.cancelled() => Some(Command::Quit),
            _ = hangup.recv() => Some(Command::Quit),
            command = keys.recv() => Some(command.unwrap_or(Command::Quit)),
            Some(news) = news.recv() => {
                tell(&mut screen, news);
                None
            }
            // A panic ends them, and has restored the terminal.
            ended = &mut reading => break ended.context("the figures can no longer be read"),
            ended = &mut counting => break ended.context("the expiries can no longer be counted"),
            () = tokio::time::sleep(REDRAW) => None,
        };
        match command {
            Some(Command::Quit) => break Ok(()),
            Some(Command::Refresh) => {
                // Another program may have written to the terminal.
                let _ = drawing.0.clear();
                recount.notify_one();
                refresh.notify_one();
            }
            Some(Command::Help) => screen.toggle_help(),
            Some(Command::Issues) => screen.toggle_issues(),
            Some(Command::Redraw) | None => {}
        }
    };
    reading.abort();
    counting.abort();
    result
}

fn tell(screen: &mut Screen, news: News) {
    match news {
        News::Begun(at) => screen.begin(at),
        News::Read(Ok(figures)) => screen.show(*figures),
        News::Read(Err(error)) => screen.fail(error.to_string()),
        News::Expiries(expiries) => screen.expire(expiries),
    }
}

/// Reads figures again and again, until nobody listens.
async fn read(reader: Reader, every: Duration, refresh: Arc<Notify>, news: mpsc::Sender<News>) {
    loop {
        if news.send(News::Begun(Instant::now())).await.is_err() {
            return;
        }
        let figures = reader.read().await.map(Box::new);
        if news.send(News::Read(figures)).await.is_err() {
            return;
        }
        let _ = tokio::time::timeout(every, refresh.notified()).await;
    }
}

/// Counts expiries again and again, until nobody listens. If the store fails, the other figures say so.
async fn count(engine: Arc<Engine>, recount: Arc<Notify>, news: mpsc::Sender<News>) {
    loop {
        let pause = match engine.count_expiries().await {
            Ok(expiries) => {
                if news.send(News::Expiries(expiries)).await.is_err() {
                    return;
                }
                EXPIRIES_FRESH_FOR
            }
            Err(_) => REDRAW,
        };
        let _ = tokio::time::timeout(pause, recount.notified()).await;
    }
}
