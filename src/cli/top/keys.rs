//! The keys of `tenure top`.

use std::time::Duration;

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::sync::mpsc;

/// How often the thread looks whether anybody still listens.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Quit,
    Refresh,
    Help,
    Issues,
    /// The terminal has another size, or the terminal was written to.
    Redraw,
}

/// Listens to the terminal in a thread of its own: reading from it blocks. A closed channel: the terminal is gone.
pub(super) fn listen() -> mpsc::UnboundedReceiver<Command> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        while !sender.is_closed() {
            let command = match event::poll(LOOK_EVERY) {
                Ok(false) => continue,
                Ok(true) => event::read().map(|event| command(&event)),
                Err(error) => Err(error),
            };
            match command {
                Ok(Some(command)) => {
                    if sender.send(command).is_err() {
                        return;
                    }
                }
                Ok(None) => {}
                Err(_) => return,
            }
        }
    });
    receiver
}

fn command(event: &Event) -> Option<Command> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => of_key(*key),
        Event::Resize(..) => Some(Command::Redraw),
        _ => None,
    }
}

fn of_key(key: KeyEvent) -> Option<Command> {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Command::Quit),
        KeyCode::Char('l') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Command::Refresh),
        KeyCode::Char('q') | KeyCode::Esc => Some(Command::Quit),
        KeyCode::Char('r') => Some(Command::Refresh),
        KeyCode::Char('?' | 'h') => Some(Command::Help),
        KeyCode::Char('i') => Some(Command::Issues),
        _ => None,
    }
}
