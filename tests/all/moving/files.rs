//! The commands and their files: whole, truncated, damaged, of another version, into a store that is not empty, interrupted.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::servers::Postgres;
use crate::support::tenure::Tenure;

/// So long that nothing expires during the tests.
const IDLE: (&str, &str) = ("TENURE_ACCESS__IDLE", "36000d");

fn sqlite(folder: &TempDir) -> Tenure {
    Tenure::new(folder.path(), &[IDLE])
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// A store with clients, changes, a refusal and a dead letter, exported to `tenure.export` in its folder.
fn exported(clients: usize) -> (TempDir, Tenure, String) {
    let folder = folder();
    let tenure = sqlite(&folder);
    let event = |n| {
        json!({
            "specversion": "1.0", "id": format!("e-{n}"), "source": "/space", "type": "client.added",
            "subject": format!("acme/c-{n:06}"), "time": "2026-01-05T09:00:00Z", "data": { "name": format!("Client {n}") },
        })
        .to_string()
    };
    let mut events: Vec<String> = (0..clients).map(event).collect();
    events.push(event(0).replace("e-0", "again"));
    events.push("not an event".into());
    fs::write(folder.path().join("events.ndjson"), events.join("\n")).expect("a file");
    tenure.ok(&["ingest", "events.ndjson"]);
    let printed = tenure.ok(&["export", "tenure.export"]);
    assert_eq!(
        printed,
        format!(
            "exported {clients} clients, {} events, {} changes, 1 dead letter and 1 policy to tenure.export\n",
            clients + 1,
            4 * clients + 1
        )
    );
    let text = fs::read_to_string(folder.path().join("tenure.export")).expect("the export");
    (folder, tenure, text)
}

fn import(tenure: &Tenure, text: &str) -> (Option<i32>, String, String) {
    let output = tenure.fed(&["import"], text);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn clients(tenure: &Tenure) -> Vec<Value> {
    tenure.json(&["client", "list"])
}

#[test]
fn a_file_moves_a_store_to_another_folder_and_to_postgres() {
    let (from, old, text) = exported(30);
    let mode = fs::metadata(from.path().join("tenure.export")).expect("a file");
    let mode = std::os::unix::fs::PermissionsExt::mode(&mode.permissions());
    assert_eq!(mode & 0o777, 0o600, "only its user can read it");
    let header: Value = serde_json::from_str(text.lines().next().expect("a line")).expect("JSON");
    assert_eq!(header["export"]["format"], "tenure-export");
    assert_eq!(header["export"]["version"], 1);
    assert_eq!(header["export"]["tenure"], env!("CARGO_PKG_VERSION"));
    assert_eq!(header["export"]["store"], "sqlite");

    let elsewhere = folder();
    let url = Postgres::shared().database("moved_by_file");
    for new in [
        sqlite(&elsewhere),
        Tenure::new(elsewhere.path(), &[IDLE, ("DATABASE_URL", &url)]),
    ] {
        let file = from.path().join("tenure.export");
        let printed = new.ok(&["import", file.to_str().expect("text")]);
        assert_eq!(
            printed,
            format!(
                "imported 30 clients, 31 events, 121 changes, 1 dead letter and 1 policy from {}; run `tenure verify` to replay \
                 the clients and compare\n",
                file.display()
            )
        );
        new.assert_no_drift();
        assert_eq!(clients(&new), clients(&old));
        assert_eq!(new.json(&["dead", "show", "1"]), old.json(&["dead", "show", "1"]));
        let journal = ["client", "show", "acme/c-000007", "--journal"];
        assert_eq!(new.json(&journal), old.json(&journal));
        // Standard output has the lines, and standard error the counts.
        let output = new.call(&["export"]);
        let (lines, counts) = (
            String::from_utf8(output.stdout).expect("text"),
            String::from_utf8(output.stderr).expect("text"),
        );
        assert!(
            counts.contains("tenure: exported 30 clients, 31 events"),
            "{counts}"
        );
        let content = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
        let (mut lines, mut expected) = (content(&lines), content(&text));
        // The digest of the last line includes the header.
        assert!(lines.pop().is_some() && expected.pop().is_some());
        // The import is an entry of the audit log.
        lines.retain(|line| !line.starts_with(r#"{"audit":"#));
        assert_eq!(lines, expected);
    }
    let records = old.json(&["export", "/dev/null"]).remove(0);
    assert_eq!(records["records"]["event"], 31);
}

#[test]
fn a_failed_export_does_not_replace_the_last_one() {
    let (from, old, text) = exported(3);
    let nowhere = old.call(&["export", "nowhere/tenure.export"]);
    assert_eq!(nowhere.status.code(), Some(2), "{nowhere:?}");
    fs::write(from.path().join("tenure.db"), "overwritten").expect("a file");
    assert_ne!(old.call(&["export", "tenure.export"]).status.code(), Some(0));
    let after = fs::read_to_string(from.path().join("tenure.export")).expect("the export");
    assert_eq!(after, text);
    let files = fs::read_dir(from.path()).expect("a folder").count();
    assert!(files < 8, "no file is left over: {files}");
}

#[test]
fn a_store_that_is_not_empty_is_refused() {
    let (_from, old, text) = exported(3);
    let before = clients(&old);
    let (code, stdout, why) = import(&old, &text);
    assert_eq!((code, &*stdout), (Some(2), ""), "{why}");
    assert!(
        why.contains("this store already has 3 clients") && why.contains("store.url"),
        "{why}"
    );
    assert_eq!(clients(&old), before);
    old.assert_no_drift();
}

/// A worker that ran once leaves a policy and lanes. They are those of the old store afterwards.
#[test]
fn a_store_in_which_nothing_happened_is_empty() {
    let (_from, _old, text) = exported(3);
    let target = folder();
    let new = Tenure::new(target.path(), &[("TENURE_ACCESS__IDLE", "99d")]);
    assert!(new.run().stop().success());
    new.ok(&["sweep", "pause", "access-expiry", "--reason", "not yet"]);
    assert_eq!(import(&new, &text).0, Some(0));
    let new = sqlite(&target);
    let policies = new.json(&["policy", "show"]);
    let recorded = policies.iter().filter(|line| line["from"].is_string());
    let idle: Vec<&Value> = recorded.map(|line| &line["policy"]["access_idle"]).collect();
    assert_eq!(idle, [&json!(36_000 * 86_400_000_000_i64)], "{policies:?}");
    assert!(
        !new.json(&["sweep", "list"])
            .iter()
            .any(|sweep| sweep.to_string().contains("not yet"))
    );
}

#[test]
fn a_file_that_is_no_export_creates_no_store() {
    let (_from, _old, text) = exported(3);
    let newer = text.replacen("\"version\":1", "\"version\":2", 1);
    let event = r#"{"specversion":"1.0","id":"1","source":"/s","type":"client.added","subject":"a/b"}"#;
    for (text, code, because) in [
        ("", 2, "stdin is empty"),
        (event, 1, "this is not an export of Tenure"),
        ("\u{1f}\u{8b}", 1, "this is not an export"),
        (&newer, 1, "in format 2, and this version reads format 1"),
    ] {
        let target = folder();
        let new = sqlite(&target);
        let (exit, _, why) = import(&new, text);
        assert_eq!(exit, Some(code), "{why}");
        assert!(why.contains(because), "{why}");
        assert!(!target.path().join("tenure.db").exists(), "{text:.20}");
    }
    let target = folder();
    let why = sqlite(&target).call(&["import", "nowhere.export"]);
    assert_eq!(why.status.code(), Some(2));
}

/// Each failure says in which line, leaves a store that nothing uses, and the next import makes it whole.
#[test]
fn a_truncated_or_damaged_file_leaves_a_store_that_nothing_uses() {
    let (_from, old, text) = exported(5);
    let lines: Vec<&str> = text.lines().collect();
    let place = |words: &str| {
        lines
            .iter()
            .position(|line| line.contains(words))
            .expect("a line")
    };
    let with = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        change(&mut lines);
        lines.join("\n") + "\n"
    };
    let client = place("{\"client\":{\"client\":\"acme/c-000002\"");
    let cases = [
        (
            with(&|lines| lines.truncate(client)),
            "the file is truncated".to_owned(),
        ),
        (
            text[..text.len() - 20].to_owned(),
            format!("line {}: the line is damaged", lines.len()),
        ),
        (
            with(&|lines| lines[client].truncate(40)),
            format!("stdin, line {}: the line is damaged", client + 1),
        ),
        (
            with(&|lines| lines[client] = lines[client].replace("acme/", "acme")),
            format!(
                "stdin, line {}: the line is damaged: the subject `acmec-000002`",
                client + 1
            ),
        ),
        (
            with(&|changed| changed.swap(client, lines.len() - 3)),
            "out of order: a client after a".to_owned(),
        ),
        (
            with(&|lines| {
                lines.remove(client);
            }),
            "the counts in the last line do not match".to_owned(),
        ),
        (
            with(&|lines| lines[client] = lines[client].replace("Client 2", "Client 9")),
            "the file was damaged or edited".to_owned(),
        ),
        (
            with(&|lines| lines.extend(lines.clone())),
            "a line follows the last line".to_owned(),
        ),
    ];
    let url = Postgres::shared().database("damaged_export");
    let folder = folder();
    for (place, tenure) in [
        ("sqlite", sqlite(&folder)),
        (
            "postgres",
            Tenure::new(folder.path(), &[IDLE, ("DATABASE_URL", &url)]),
        ),
    ] {
        for (damaged, because) in &cases {
            let (code, stdout, why) = import(&tenure, damaged);
            assert_eq!((code, &*stdout), (Some(1), ""), "{place}: {why}");
            assert!(
                why.contains(because) && why.contains("the store is incomplete"),
                "{place}: {why}"
            );
            assert_nothing_uses(&tenure);
        }
        assert_eq!(import(&tenure, &text).0, Some(0));
        assert_eq!(clients(&tenure), clients(&old));
        tenure.assert_no_drift();
        assert_eq!(import(&tenure, &text).0, Some(2), "it is not empty now");
    }
}

fn assert_nothing_uses(tenure: &Tenure) {
    for args in [
        &["client", "list"][..],
        &["client", "show", "acme/c-000001"],
        &["verify"],
        &["rebuild"],
        &["sweep", "run", "access-expiry"],
        &["policy", "show"],
        &["what-if"],
        &["statement", "show", "2025-01"],
        &["statement", "close", "2025-01", "--by", "ann"],
        &["lanes", "list"],
        &["sources", "list"],
        &["dead", "list"],
        &["prune"],
        &["migrate"],
        &["restored"],
        &["export"],
        &["ingest", "-"],
    ] {
        let output = tenure.call(args);
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {why}");
        assert!(
            why.contains("the store is incomplete and cannot be used"),
            "{args:?}: {why}"
        );
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

/// The import is killed in the middle. A worker that starts meanwhile waits, and begins when the next import has ended.
#[test]
fn an_interrupted_import_begins_anew_and_a_worker_waits_for_it() {
    let (_from, old, text) = exported(6_000);
    let url = Postgres::shared().database("interrupted_import");
    let folder = folder();
    for tenure in [
        sqlite(&folder),
        Tenure::new(folder.path(), &[IDLE, ("DATABASE_URL", &url)]),
    ] {
        let mut interrupted = tenure.spawn(&["import"]);
        let mut input = interrupted.input();
        let half = text.len() / 2;
        input.write_all(&text.as_bytes()[..half]).expect("it reads");
        input.flush().expect("it reads");
        wait_for_store(&tenure);
        interrupted.signal(Signal::SIGKILL);
        interrupted.code();
        drop(input);
        assert_nothing_uses(&tenure);
        let worker = tenure.start();
        worker.wait_until("waiting", || {
            worker
                .log()
                .contains("the store is incomplete and cannot be used")
        });
        assert_eq!(worker.get("/readyz").0, 503);
        assert_eq!(import(&tenure, &text).0, Some(0));
        worker.wait_until("ready", || worker.get("/readyz").0 == 200);
        assert!(worker.stop().success());
        assert_eq!(clients(&tenure), clients(&old));
        tenure.assert_no_drift();
    }
}

/// Waits until the import has begun.
fn wait_for_store(tenure: &Tenure) {
    let began = crate::support::tenure::wait_until(std::time::Duration::from_mins(1), || {
        let output = tenure.call(&["client", "list"]);
        String::from_utf8_lossy(&output.stderr).contains("the store is incomplete")
    });
    began.expect("it begins");
}

/// A second import discards what the first has written, and the first one ends with an error.
#[test]
fn of_two_imports_at_once_the_later_one_wins() {
    let (_from, old, text) = exported(6_000);
    let url = Postgres::shared().database("two_imports");
    let folder = folder();
    for tenure in [
        sqlite(&folder),
        Tenure::new(folder.path(), &[IDLE, ("DATABASE_URL", &url)]),
    ] {
        let mut first = tenure.spawn(&["import"]);
        let mut input = first.input();
        let half = text.len() / 2;
        input.write_all(&text.as_bytes()[..half]).expect("it reads");
        wait_for_store(&tenure);
        assert_eq!(import(&tenure, &text).0, Some(0));
        // It may notice before it has read everything.
        let _ = input.write_all(&text.as_bytes()[half..]);
        drop(input);
        let (code, stdout, why) = first.end();
        assert_eq!((code, &*stdout), (Some(1), ""), "{why}");
        assert_eq!(clients(&tenure), clients(&old));
        tenure.assert_no_drift();
    }
}

/// A worker that runs on an empty store stops when an import begins: it would write into what the import removes.
#[test]
fn a_running_worker_exits_when_an_import_begins() {
    let (_from, _old, text) = exported(3);
    let target = folder();
    let new = sqlite(&target);
    let mut worker = new.run();
    let mut importing = new.spawn(&["import"]);
    let mut input = importing.input();
    let (first, rest) = text.split_once('\n').expect("lines");
    writeln!(input, "{first}").expect("it reads");
    let status = worker.ended(std::time::Duration::from_mins(1)).expect("it exits");
    assert_eq!(status.code(), Some(1), "{}", worker.log());
    assert!(
        worker
            .log()
            .contains("the store is incomplete and cannot be used"),
        "{}",
        worker.log()
    );
    input.write_all(rest.as_bytes()).expect("it reads");
    drop(input);
    assert_eq!(importing.code(), Some(0));
    new.assert_no_drift();
}

/// Neither command holds the store in memory.
#[test]
fn memory_does_not_grow_with_the_store() {
    let peak = |clients: usize| {
        let (from, ..) = exported(clients);
        let target = folder();
        let file = from.path().join("tenure.export");
        let file = file.to_str().expect("text");
        peak_memory(from.path(), &["export", "again"]).max(peak_memory(target.path(), &["import", file]))
    };
    let (small, large) = (peak(500), peak(20_000));
    println!("{small} KiB, {large} KiB");
    assert!(
        large < small + 120 * 1024,
        "{small} KiB for 500 clients, {large} KiB for 20,000"
    );
}

/// The most memory that a command used, in KiB.
fn peak_memory(folder: &Path, args: &[&str]) -> u64 {
    let output = std::process::Command::new("python3")
        .arg("-c")
        .arg(
            "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL); \
             print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)",
        )
        .arg(env!("CARGO_BIN_EXE_tenure"))
        .args(args)
        .current_dir(folder)
        .env_remove("DATABASE_URL")
        .output()
        .expect("python3");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .expect("a number")
}
