//! `tenure top`: what it draws from a real store, and how it behaves on a terminal.

use std::io::Read as _;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use nix::sys::signal::Signal;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use serde_json::json;
use tenure::cli::top::{Drawing, Reader, Screen, draw};
use tenure::config::Settings;
use tenure::domain::Sweep;
use tenure::engine::Authority;
use tenure::store::AuditHow;

use super::{Given, code, stderr, stdout};
use crate::console::site::{Site, noon};
use crate::support::proxy::{Cut, Proxy};
use crate::support::servers::{Postgres, free_port};
use crate::support::terminal::PseudoTerminal;

const EVIL: &str = "evil\u{1b}[2J\u{202e}\u{7}";

/// A worker with everything that a person must see: events of all outcomes, a paused sweep, a silent source, lanes.
async fn site() -> Site {
    let site = Site::start(noon(), &[("TENURE_SOURCES", "/test=2h,/accounts=30m")]).await;
    site.linked("bakery").await;
    site.event(
        "nobody",
        "client.deleted",
        noon() - TimeDelta::minutes(30),
        json!({}),
    )
    .await;
    site.dead("amqp:tenure.events.0", EVIL, b"x", &[]).await;
    site.worker("tenure-3-c41d8802").await;
    let lanes = ["tenure.events.0".to_owned(), "tenure.events.1".to_owned()];
    site.engine
        .store()
        .set_lanes(&lanes, noon())
        .await
        .expect("lanes");
    let depths = [
        ("tenure.events.0".to_owned(), 12),
        ("tenure.events.1".to_owned(), 0),
    ];
    site.engine.note_depths(depths.into());
    site.clock.set(noon() + TimeDelta::minutes(50));
    site.event(
        "bakery",
        "client.renamed",
        noon() + TimeDelta::minutes(50),
        json!({"name": "B"}),
    )
    .await;
    site.worker("tenure-2-91b04e7d").await;
    site.engine.duties().lead_relay(true);
    site.worker("tenure-1-5f0c2a9e").await;
    let authority = Authority {
        who: "ann".into(),
        how: AuditHow::Cli,
        reason: Some(format!("books are closed {EVIL}")),
        request_id: None,
    };
    let operator = site.engine.operator(&authority);
    operator
        .pause_sweep(Sweep::SubscriptionEnd)
        .await
        .expect("paused");
    site
}

async fn screen(site: &Site) -> Screen {
    let env = [("TENURE_HTTP__LISTEN".to_owned(), site.address.to_string())];
    let settings = Settings::load(None, env.into_iter()).expect("settings");
    let reader = Reader::new(Arc::clone(&site.engine), &settings);
    let mut figures = reader.read().await.expect("figures");
    figures.expiries = Some(site.engine.count_expiries().await.expect("expiries"));
    let mut screen = Screen::new("sqlite://tenure.db".into(), Duration::from_secs(2), true);
    screen.show(figures);
    screen
}

/// The lines of the screen, without the space at their ends.
fn drawn(screen: &Screen, columns: u16, rows: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).expect("a terminal");
    terminal.draw(|frame| draw(frame, screen)).expect("drawn");
    let buffer = terminal.backend().buffer();
    let lines = buffer.content().chunks(columns.into()).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_terminal_shows_every_part() {
    let site = site().await;
    let text = drawn(&screen(&site).await, 80, 24);
    insta::assert_snapshot!(text);
    assert!(!text.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{text:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wide_terminal_shows_every_issue() {
    let site = site().await;
    let text = drawn(&screen(&site).await, 150, 45);
    insta::assert_snapshot!(text);
}

#[tokio::test(flavor = "multi_thread")]
async fn popups_and_trouble_are_drawn() {
    let site = site().await;
    let mut screen = screen(&site).await;
    for (columns, rows) in [(80, 24), (150, 45), (20, 5), (1, 1)] {
        // A tiny terminal must not end the program.
        drawn(&screen, columns, rows);
    }
    screen.toggle_issues();
    let text = drawn(&screen, 80, 24);
    assert!(
        text.contains("┌Issues") && text.contains("redrive or") && text.contains("discard them."),
        "{text}"
    );
    screen.toggle_help();
    let text = drawn(&screen, 80, 24);
    assert!(text.contains("┌Keys") && !text.contains("┌Issues"), "{text}");
    screen.toggle_help();
    screen.fail(format!("connection refused {EVIL}"));
    let text = drawn(&screen, 80, 24);
    assert!(text.contains("The store has been away for 0 s."), "{text}");
    assert!(text.contains("connection refused evil\\u{1b}[2J"), "{text}");
    assert!(text.contains("tenure.events.0"), "the old figures stay: {text}");
}

#[test]
fn without_a_terminal_it_names_the_alternative() {
    let given = Given::events();
    let output = given.tenure.call(&["top"]);
    assert_eq!((code(&output), stdout(&output)), (2, String::new()));
    assert!(
        stderr(&output).contains("tenure top -o json"),
        "{}",
        stderr(&output)
    );
    let output = given.tenure.call(&["top", "--every", "soon", "-o", "json"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("2s"), "{}", stderr(&output));
    let output = given.tenure.call(&["top", "-o", "csv"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
}

#[test]
fn it_creates_no_store() {
    let given = Given::nothing();
    let output = given.tenure.call(&["top", "-o", "json"]);
    assert_eq!(code(&output), 2, "{}", stderr(&output));
    assert!(stderr(&output).contains("no Tenure store"), "{}", stderr(&output));
    let mut top = given.tenure.on_terminal(&["top"], 80, 24);
    assert_eq!(top.ended().code(), Some(2));
    assert!(top.is_restored(), "{}", top.screen().contents());
    assert!(!given.folder.path().join("tenure.db").exists());
}

#[test]
fn json_has_the_figures_once() {
    let given = Given::events();
    given
        .tenure
        .ok(&["sweep", "pause", "access-expiry", "--reason", "books are closed"]);
    let quiet = given.with(&[("TENURE_HTTP__LISTEN", "")]);
    let figures = quiet.json(&["top"]);
    assert_eq!(figures.len(), 1);
    let figures = &figures[0];
    assert_eq!(figures["state"], "attention");
    assert_eq!(figures["verdict"], "Tenure works. 2 things need attention.");
    assert_eq!(figures["issues"][0]["what"], "Access expiry was paused just now");
    assert_eq!(figures["dead_letters"]["total"], 2);
    assert_eq!(figures["worker_problem"], "http.listen is empty");
    assert_eq!(figures["queues"], json!(null));
    assert_eq!(figures["minutes"].as_array().map(Vec::len), Some(60));
    assert_eq!(figures["expiries"], json!({"days": {}, "complete": true}));
    let running = given.tenure.run();
    let (status, answer) = running.add_client("shop-1");
    assert!(status < 300, "{answer}");
    let asking = given.with(&[("TENURE_HTTP__LISTEN", &running.address)]);
    let figures = &asking.json(&["top"])[0];
    assert_eq!(figures["worker_problem"], json!(null));
    assert_eq!(figures["queues"], json!({}));
    let sum = |name: &str| {
        let figures = &quiet.json(&["top"])[0];
        let minutes = figures["minutes"].as_array().expect("minutes").iter();
        minutes.filter_map(|minute| minute[name].as_u64()).sum::<u64>()
    };
    running.wait_until("recorded counts", || sum("applied") == 1);
    // A worker that has stopped has left its counts.
    assert!(running.stop().success());
    assert_eq!(sum("applied"), 1);
    assert!(sum("changes") > 0);
}

#[test]
fn a_worker_with_tokens_is_asked_with_the_token_of_the_settings() {
    let given = Given::events();
    let token = ("TENURE_HTTP__TOKEN", "0123456789abcdef");
    let running = given.with(&[token]).run();
    let listen = ("TENURE_HTTP__LISTEN", running.address.as_str());
    let problem = |env: &[(&str, &str)]| given.with(env).json(&["top"])[0]["worker_problem"].clone();
    assert_eq!(problem(&[token, listen]), json!(null));
    let without = problem(&[listen]);
    assert!(
        without.as_str().is_some_and(|why| why.contains("scope read")),
        "{without}"
    );
}

fn top(given: &Given, address: &str, env: &[(&str, &str)]) -> PseudoTerminal {
    let env = [&[("TENURE_HTTP__LISTEN", address)][..], env].concat();
    given.with(&env).on_terminal(&["top", "--every", "200ms"], 80, 24)
}

#[test]
fn it_shows_changes_of_the_store_resizes_and_restores_the_terminal() {
    let given = Given::events();
    given.tenure.ok(&["dead", "discard", "--all"]);
    let running = given.tenure.run();
    let mut top = top(&given, &running.address, &[]);
    top.wait_for("Events and changes/min");
    top.wait_for("All is well.");
    assert!(top.screen().alternate_screen() && top.screen().hide_cursor());
    let (status, answer) = running.add_client("shop-1");
    assert!(status < 300, "{answer}");
    top.wait_until("event that was applied", |screen| {
        screen
            .contents()
            .lines()
            .any(|line| line.starts_with("applied") && line.contains('█'))
    });
    std::fs::write(
        given.folder.path().join("broken.ndjson"),
        "broken one\nbroken two\n",
    )
    .expect("a file");
    given.tenure.call(&["ingest", "broken.ndjson"]);
    top.wait_for("2 dead letters open");
    top.resize(130, 40);
    top.wait_until("wide line", |screen| {
        screen
            .rows(0, 130)
            .next()
            .is_some_and(|line| line.trim_end().chars().count() > 100)
    });
    top.press("?");
    top.wait_for("all else comes from the store");
    top.press("?i");
    top.wait_for("┌Issues");
    top.press("r");
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));
    top.wait_until("restored terminal", |screen| !screen.alternate_screen());
    assert!(top.is_restored());
}

/// What ends it.
type End = fn(&mut PseudoTerminal);

#[test]
fn keys_and_signals_end_it_and_restore_the_terminal() {
    let given = Given::events();
    let address = format!("127.0.0.1:{}", free_port());
    let ends: [(&str, End); 5] = [
        ("Ctrl-C", |top| top.press("\u{3}")),
        ("Esc", |top| top.press("\u{1b}")),
        ("SIGTERM", |top| top.signal(Signal::SIGTERM)),
        ("SIGINT", |top| top.signal(Signal::SIGINT)),
        ("SIGHUP", |top| top.signal(Signal::SIGHUP)),
    ];
    let mut asking = top(&given, &address, &[]);
    asking.wait_for("2 dead letters open");
    asking.press("i");
    asking.wait_for("The checks of the worker and its queues are unknown");
    asking.press("q");
    assert_eq!(asking.ended().code(), Some(0));
    for (name, end) in ends {
        let mut top = top(&given, &address, &[]);
        top.wait_for("2 dead letters open");
        end(&mut top);
        assert_eq!(top.ended().code(), Some(0), "{name}");
        top.wait_until("restored terminal", |screen| !screen.alternate_screen());
        assert!(top.is_restored(), "{name}");
    }
}

/// Set in the process that [`a_panic_restores_the_terminal_before_its_message`] starts.
const PANICS: &str = "TENURE_TEST_PANICS";

/// Draws, waits for a key, and panics.
fn panic_while_drawing() -> ! {
    let mut drawing = Drawing::begin().expect("a terminal");
    let screen = Screen::new("sqlite://tenure.db".into(), Duration::from_secs(2), true);
    drawing.draw(&screen).expect("drawn");
    let mut key = [0];
    std::io::stdin().read_exact(&mut key).expect("a key");
    panic!("on purpose, after {key:?}");
}

/// This test runs again in a process of its own, on a terminal, and panics there.
#[test]
fn a_panic_restores_the_terminal_before_its_message() {
    if std::env::var_os(PANICS).is_some() {
        panic_while_drawing();
    }
    let (_, module) = module_path!().split_once("::").expect("a crate and a module");
    let mut command = Command::new("setsid");
    command
        .arg("--ctty")
        .arg(std::env::current_exe().expect("a program"))
        .arg(format!(
            "{module}::a_panic_restores_the_terminal_before_its_message"
        ))
        .args(["--exact", "--nocapture"])
        .env("TERM", "xterm-256color")
        // A backtrace would push the message off the screen.
        .env("RUST_BACKTRACE", "0")
        .env(PANICS, "1");
    let mut top = PseudoTerminal::start(command, 80, 24);
    top.wait_for("Reading the figures");
    assert!(top.screen().alternate_screen() && top.screen().hide_cursor());
    top.press("x");
    assert!(!top.ended().success());
    // On the screen that was there before, where it stays.
    top.wait_until("message", |screen| {
        !screen.alternate_screen() && screen.contents().contains("on purpose, after [120]")
    });
    assert!(top.is_restored());
}

/// Whether a program has set the colour of text.
fn has_colours(top: &PseudoTerminal) -> bool {
    let screen = top.screen();
    let (rows, columns) = screen.size();
    (0..rows.get()).any(|row| {
        (0..columns.get()).any(|column| {
            screen
                .cell(row, column)
                .is_some_and(|cell| cell.fgcolor() != vt100::Color::Default)
        })
    })
}

#[test]
fn no_color_is_respected() {
    let given = Given::events();
    let address = format!("127.0.0.1:{}", free_port());
    let coloured = top(&given, &address, &[]);
    coloured.wait_for("2 dead letters open");
    assert!(has_colours(&coloured));
    let plain = top(&given, &address, &[("NO_COLOR", "1")]);
    plain.wait_for("▲ 2 dead letters open");
    assert!(!has_colours(&plain), "{}", plain.screen().contents());
}

#[test]
fn it_goes_on_when_the_store_is_back() {
    let server = Postgres::shared();
    let database = server.database("top");
    let given = Given::nothing();
    let proxy = Proxy::to(server.port());
    given.with(&[("DATABASE_URL", &database)]).ok(&["migrate"]);
    let address = format!("127.0.0.1:{}", free_port());
    let through = proxy.url(&database);
    let mut top = top(&given, &address, &[("DATABASE_URL", &through)]);
    top.wait_for("All is well.");
    proxy.redirect_to(free_port());
    proxy.cut(Cut::Reset);
    top.wait_for("The store has been away");
    proxy.redirect_to(server.port());
    top.wait_for("All is well.");
    top.press("q");
    assert_eq!(top.ended().code(), Some(0));
}
