//! Tables colour the words that a person must see, on a terminal only.

use super::Given;
use crate::support::terminal::PseudoTerminal;

const RED: vt100::Color = vt100::Color::Idx(1);
const YELLOW: vt100::Color = vt100::Color::Idx(3);

/// The output of a command on a terminal, after its end.
fn shown(given: &Given, env: &[(&str, &str)], args: &[&str], columns: u16) -> PseudoTerminal {
    let mut terminal = given.with(env).on_terminal(args, columns, 40);
    assert_eq!(
        terminal.ended().code(),
        Some(0),
        "{}",
        terminal.screen().contents()
    );
    terminal
}

/// The colours of the cells of a word, wherever it stands on the screen.
fn colours_of(terminal: &PseudoTerminal, word: &str) -> Vec<vt100::Color> {
    terminal.wait_for(word);
    let screen = terminal.screen();
    let (rows, columns) = screen.size();
    let mut colours = Vec::new();
    for row in 0..rows.get() {
        let cells: Vec<_> = (0..columns.get())
            .filter_map(|column| screen.cell(row, column))
            .collect();
        let letters: Vec<&str> = cells.iter().map(|cell| cell.contents()).collect();
        for start in 0..letters.len().saturating_sub(word.len()) {
            if letters[start..start + word.len()].concat() == word {
                colours.extend(cells[start..start + word.len()].iter().map(|cell| cell.fgcolor()));
            }
        }
    }
    colours
}

fn given() -> Given {
    let given = Given::overdue_events();
    given.tenure.ok(&["sweep", "run", "access-expiry"]);
    given
        .tenure
        .ok(&["sweep", "pause", "subscription-end", "--reason", "later"]);
    given
}

#[test]
fn bad_and_halted_is_coloured_on_a_terminal() {
    let given = given();
    // A table, and records because the rows do not fit.
    for columns in [200, 60] {
        let clients = shown(&given, &[super::SHORT_IDLE], &["client", "list"], columns);
        let expired = colours_of(&clients, "expired");
        assert!(
            !expired.is_empty() && expired.iter().all(|colour| *colour == RED),
            "{columns}"
        );
        let bakery = colours_of(&clients, "bakery");
        assert!(
            bakery.iter().all(|colour| *colour == vt100::Color::Default),
            "{columns}"
        );
        let sweeps = shown(&given, &[super::SHORT_IDLE], &["sweep", "list"], columns);
        let paused = colours_of(&sweeps, "paused");
        assert!(
            !paused.is_empty() && paused.iter().all(|colour| *colour == YELLOW),
            "{columns}"
        );
    }
}

#[test]
fn nothing_is_coloured_elsewhere() {
    let given = given();
    for (env, args) in [
        (&[("NO_COLOR", "1")][..], &["client", "list"][..]),
        (&[("TERM", "dumb")], &["client", "list"]),
        (&[], &["client", "list", "-o", "csv"]),
        (&[], &["client", "list", "-o", "json"]),
    ] {
        let mut env = env.to_vec();
        env.push(super::SHORT_IDLE);
        let shown = shown(&given, &env, args, 200);
        shown.wait_for("expired");
        assert!(
            !shown.bytes().contains(&0x1b),
            "{args:?}: {}",
            shown.screen().contents()
        );
    }
    for env in [&[][..], &[("CLICOLOR_FORCE", "1")]] {
        let piped = given
            .with(&[env, &[super::SHORT_IDLE]].concat())
            .ok(&["client", "list"]);
        assert!(
            piped.contains("expired") && !piped.contains('\u{1b}'),
            "{piped:?}"
        );
    }
}
