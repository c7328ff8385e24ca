//! How commands print: `-o table|json|csv`, tables on a terminal, completions, manual pages, and relative times.

use std::collections::BTreeSet;
use std::process::Command;

use super::commands::{COMMANDS, Use, command};
use super::{Given, code, help, stderr, stdout};
use crate::support::packages::skip;
use crate::support::tenure::Tenure;

#[test]
fn lists_are_printed_as_comma_separated_values() {
    let given = Given::events();
    let csv = given.tenure.ok(&["client", "list", "-o", "csv"]);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines[0], "client,name,link,service,access,expires,last_accessed");
    assert!(lines[1].starts_with("acme/bakery,"), "{csv}");
    assert_eq!(lines.last(), Some(&""), "no sentence follows the rows: {csv}");
    assert!(!csv.contains(",-,"), "an empty cell is empty: {csv}");
    for args in [
        &["sweep", "list"][..],
        &["sweep", "runs"],
        &["sweep", "preview", "access-expiry", "--at", "+400y"],
        &["lanes", "list"],
        &["sources", "list"],
        &["workers", "list"],
        &["partners"],
        &["refusals"],
        &["audit"],
        &["accesses"],
        &["dead", "list"],
        &["webhook", "list"],
        &["history", "acme/bakery"],
        &["possible", "acme/bakery"],
        &["access", "acme/bakery"],
        &["account", "a-1"],
        &["forecast"],
        &["what-if"],
        &["statement", "list"],
        &["client", "list", "--count"],
        &["why", "acme/bakery"],
        &["why", "acme/bakery", "access"],
        &["verify"],
        &["rebuild"],
    ] {
        let csv = given.tenure.ok(&[args, &["-o", "csv"]].concat());
        let mut reader = csv.split("\r\n");
        let head = reader.next().unwrap_or_default();
        assert!(head.contains(',') && !head.contains(' '), "{args:?}: {csv}");
        assert!(csv.ends_with("\r\n"), "{args:?}: {csv}");
    }
}

#[test]
fn a_cell_of_several_lines_is_one_line_of_comma_separated_values() {
    let given = Given::events();
    let csv = given.tenure.ok(&["history", "acme/bakery", "-o", "csv"]);
    assert!(csv.contains("#1 link.draft draft; #2 client.named"), "{csv}");
    assert!(!csv.contains("\\n"), "{csv}");
}

#[test]
fn what_check_finds_is_printed_as_comma_separated_values() {
    let given = Given::nothing();
    let good = r#"{"specversion": "1.0", "id": "1", "source": "/space", "type": "client.added", "subject": "acme/a", "time": "2026-01-05T09:00:00Z", "data": {"name": "A", "colour": "red"}}"#;
    let output = given.tenure.fed(
        &["check", "-", "--empty", "-o", "csv"],
        &format!("{good}\nnonsense\n"),
    );
    assert_eq!(code(&output), 1);
    let csv = stdout(&output);
    let lines: Vec<&str> = csv.split("\r\n").collect();
    assert_eq!(lines.len(), 4, "{csv}");
    assert_eq!(
        lines[0],
        "origin,source,id,type,subject,outcome,code,reason,conflicts_with,until,warnings"
    );
    assert!(
        lines[1].starts_with("file:stdin:1,/space,1,client.added,acme/a,applied,,,,,")
            && lines[1].contains("colour"),
        "{csv}"
    );
    assert!(lines[2].starts_with("file:stdin:2,,,,,dead,,"), "{csv}");
    assert!(
        stderr(&output).contains("2 events: 1 would be applied"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_forecast_does_not_end_in_the_past() {
    let given = Given::events();
    for args in [
        &["forecast", "--until", "yesterday"][..],
        &["history", "acme/bakery", "--until", "2026-01-05"],
    ] {
        let output = given.tenure.call(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains("is in the past"), "{}", stderr(&output));
    }
}

#[test]
fn removing_nothing_says_so() {
    let given = Given::events();
    assert_eq!(
        given.tenure.ok(&["lanes", "remove"]),
        "there is no lane to remove\n"
    );
    let sources = given.tenure.json(&["sources", "remove"]);
    assert_eq!(sources, [serde_json::json!({ "removed": 0 })]);
}

#[test]
fn a_command_without_rows_has_no_comma_separated_values() {
    let given = Given::events();
    for args in [
        &["lanes", "remove"][..],
        &["client", "show", "acme/bakery"],
        &["policy", "apply"],
    ] {
        let output = given.tenure.call(&[args, &["-o", "csv"]].concat());
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains("prints no rows"), "{}", stderr(&output));
    }
    let both = given.tenure.json(&["client", "list"]);
    let json = given.tenure.ok(&["client", "list", "-o", "json"]);
    assert_eq!(json.lines().count(), both.len());
}

#[test]
fn a_moment_may_be_relative_or_a_date() {
    let given = Given::events();
    let show = |at: &str| {
        given
            .tenure
            .json(&["client", "show", "acme/bakery", "--at", at])
            .remove(0)
    };
    let dated = show("2025-01-20");
    assert_eq!(dated, show("2025-01-20T00:00:00Z"));
    for at in ["now", "today", "yesterday", "tomorrow", "-3d", "+2w"] {
        assert_eq!(show(at)["client"], "bakery", "{at}");
    }
    let none = given
        .tenure
        .call(&["client", "show", "acme/bakery", "--at", "-100y"]);
    assert!(stderr(&none).contains("did not exist at"), "{}", stderr(&none));
}

/// Runs a command on a terminal of 80 columns.
fn on_a_terminal(given: &Given, args: &str) -> String {
    let output = Command::new("script")
        .args(["--quiet", "--return", "--command"])
        .arg(format!(
            "stty cols 80; {} {args} 2>/dev/null",
            env!("CARGO_BIN_EXE_tenure")
        ))
        .arg("/dev/null")
        .current_dir(given.folder.path())
        .env_remove("NO_COLOR")
        .output()
        .expect("script (util-linux) can be started");
    assert!(output.status.success(), "{args}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Has text that does not fit beside anything: a reason, ids, a source.
fn long() -> Given {
    let given = Given::overdue_events();
    let uuid = "0f8fad5b-d9cb-469f-a165-70867728950e";
    let dead = format!(
        r#"{{"specversion":"1.0","id":"{uuid}","source":"/a/source/of/an/app/that/has/a/long/name/{uuid}","type":"client.vanished","subject":"acme/a","time":"2025-03-02T11:00:00Z"}}"#
    );
    std::fs::write(given.folder.path().join("dead.ndjson"), dead).expect("a file");
    given.tenure.call(&["ingest", "dead.ndjson"]);
    let why = format!(
        "the books are closed until the customer has answered request {uuid}, which is to be on 2026-03-01T12:00:00Z, as \
         agreed with finance and with the partner"
    );
    let why = ["--reason", why.as_str()];
    for args in [
        &["sweep", "run", "access-expiry"][..],
        &["sweep", "pause", "access-expiry"],
        &["sweep", "pause", "stalled-invitations"],
        &["statement", "close", "2025-01", "--confirm"],
        &[
            "webhook",
            "add",
            "crm",
            "http://localhost:9/hooks/tenure",
            "--partner",
            "acme",
        ],
    ] {
        given.tenure.ok(&[args, &why].concat());
    }
    given
}

/// What a command prints on a terminal of 80 columns, as lines. A progress bar is overwritten.
fn lines_on_a_terminal(tenure: &Tenure, args: &[&str]) -> Vec<String> {
    let (_, printed) = tenure.on_terminal(args, 80, 60).printed();
    let text = anstream::adapter::strip_str(&printed).to_string();
    text.lines()
        .map(|line| line.trim_end_matches('\r'))
        .map(|line| line.rsplit('\r').next().unwrap_or_default().to_owned())
        .collect()
}

fn assert_lines_fit(args: &[&str], lines: &[String]) {
    for line in lines {
        let width = line.trim_end().chars().count();
        // What is longer than a line stays whole, on a line of its own.
        let is_one_word = !line.trim().contains(' ');
        assert!(
            width <= 80 || is_one_word,
            "{args:?}: {width} columns: {line}\n{}",
            lines.join("\n")
        );
    }
}

/// The ids and times of a text, without frames. A moment in words is one.
fn whole(text: &str) -> BTreeSet<String> {
    let is_id_or_time = |word: &str| word.contains(|c: char| c.is_ascii_digit() || c == '/');
    let frame = |c: char| ('\u{2500}'..='\u{257f}').contains(&c);
    let mut whole = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(|c: char| c.is_whitespace() || frame(c)).collect();
        for moment in words.windows(6) {
            if moment[3] == "at" && moment[5].starts_with("UTC") && moment[2].parse::<u16>().is_ok() {
                whole.insert(moment.join(" "));
            }
        }
        whole.extend(
            words
                .into_iter()
                .filter(|&word| is_id_or_time(word))
                .map(str::to_owned),
        );
    }
    whole
}

#[test]
fn every_command_fits_a_terminal_of_80_columns_and_breaks_no_id_and_no_time() {
    let given = long();
    for known in COMMANDS.iter().filter(|known| known.what == Use::Reads) {
        let args: Vec<&str> = known
            .args
            .iter()
            .map(|arg| if *arg == "acme/a" { "acme/bakery" } else { *arg })
            .collect();
        let piped = || whole(&stdout(&given.tenure.call(&args)));
        let before = piped();
        let lines = lines_on_a_terminal(&given.tenure, &args);
        assert_lines_fit(&args, &lines);
        // Without what depends on the time of the day.
        for word in before.intersection(&piped()) {
            assert!(
                lines.iter().any(|line| line.contains(word)),
                "{args:?}: {word} is not whole in\n{}",
                lines.join("\n")
            );
        }
    }
    // What was read shows the reason.
    let text = lines_on_a_terminal(&given.tenure, &["sweep", "list"]).join("\n");
    assert!(
        text.contains("0f8fad5b-d9cb-469f-a165-70867728950e") && text.contains("2026-03-01T12:00:00Z"),
        "{text}"
    );
    for known in COMMANDS.iter().filter(|known| known.what == Use::Changes) {
        let mut args = known.args.to_vec();
        if !args.contains(&"--reason") {
            args.extend(["--reason", "a test"]);
        }
        assert_lines_fit(&args, &lines_on_a_terminal(&given.tenure, &args));
    }
}

#[test]
fn lists_without_rows_fit_a_terminal_of_80_columns() {
    let given = Given::nothing();
    given.tenure.ok(&["migrate"]);
    for known in COMMANDS.iter().filter(|known| known.what == Use::Reads) {
        let lines = lines_on_a_terminal(&given.tenure, known.args);
        assert!(!lines.is_empty(), "{:?}", known.args);
        assert_lines_fit(known.args, &lines);
    }
    let runs = lines_on_a_terminal(&given.tenure, &["sweep", "runs"]).join("\n");
    assert!(runs.contains("no rows: run, sweep, started"), "{runs}");
}

#[test]
fn a_terminal_of_80_columns_breaks_no_id_and_no_time() {
    let given = Given::events();
    let url = "http://localhost:9/hooks/tenure";
    given
        .tenure
        .ok(&["webhook", "add", "crm", url, "--partner", "acme"]);
    for args in ["client list", "refusals", "dead list", "webhook list", "audit"] {
        let text = on_a_terminal(&given, args);
        let csv: Vec<&str> = args.split(' ').chain(["-o", "csv"]).collect();
        let csv = given.tenure.ok(&csv);
        let rows: Vec<csv::StringRecord> = csv::Reader::from_reader(csv.as_bytes())
            .records()
            .collect::<Result<_, _>>()
            .expect("comma-separated values");
        assert!(!rows.is_empty(), "{args}");
        for cell in rows
            .iter()
            .flatten()
            .filter(|cell| !cell.is_empty() && !cell.contains(' '))
        {
            assert!(text.contains(cell), "{args}: {cell} is not whole in\n{text}");
        }
    }
}

/// No line is wider than the terminal, which would break it anywhere.
fn assert_fits(text: &str) {
    for line in text.lines() {
        let width = line.trim_end().chars().count();
        assert!(width <= 80, "{width} columns: {line}\n{text}");
    }
}

#[test]
fn an_explanation_on_a_terminal_of_80_columns_breaks_no_id_and_no_time() {
    let given = Given::events();
    let text = on_a_terminal(&given, "why acme/bakery");
    assert_fits(&text);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let csv = given.tenure.ok(&["why", "acme/bakery", "-o", "csv"]);
    let mut moments = 0;
    for row in csv::Reader::from_reader(csv.as_bytes()).records() {
        let row = row.expect("comma-separated values");
        let sentence = &row[4];
        // A broken word would have a space in it.
        assert!(flat.contains(sentence), "{sentence}\n{text}");
        for words in sentence.split(' ').collect::<Vec<_>>().windows(6) {
            if words[3] == "at" && words[5].starts_with("UTC") {
                let moment = words.join(" ");
                assert!(
                    text.lines().any(|line| line.contains(&moment)),
                    "{moment} is not whole in\n{text}"
                );
                moments += 1;
            }
        }
    }
    assert!(moments > 20, "{moments}");
}

#[test]
fn workers_on_a_terminal_of_80_columns_have_whole_names_and_times() {
    let given = Given::nothing();
    given.tenure.ok(&["migrate"]);
    let running = given.with(&[("HOSTNAME", "tenure-worker-7d9c5b4f6-x2x8z")]).run();
    running.wait_until("listed", || given.tenure.json(&["workers", "list"]).len() == 1);
    let text = on_a_terminal(&given, "workers list");
    let worker = given.tenure.json(&["workers", "list"]).remove(0);
    assert!(running.stop().success());
    assert_fits(&text);
    for field in ["name", "version"] {
        let cell = worker[field]
            .as_str()
            .unwrap_or_else(|| panic!("{field} of {worker}"));
        assert!(text.contains(cell), "{cell} is not whole in\n{text}");
    }
    // When it started and when it was last seen, which it may have been again since.
    let words = text.split_whitespace();
    let times = words.filter(|word| chrono::DateTime::parse_from_rfc3339(word).is_ok());
    assert_eq!(times.count(), 2, "{text}");
}

#[test]
fn a_shell_completes_commands() {
    let given = Given::nothing();
    let script = given.folder.path().join("tenure.bash");
    // Even where the settings are wrong.
    let wrong = given.with(&[("TENURE_STORE__COLOUR", "red")]);
    std::fs::write(&script, wrong.ok(&["completions", "bash"])).expect("a file");
    let complete = "source tenure.bash; COMP_WORDS=(tenure sweep p); COMP_CWORD=2; _tenure tenure p sweep; echo ${COMPREPLY[@]}";
    let output = Command::new("bash")
        .args(["-c", complete])
        .current_dir(given.folder.path())
        .output()
        .expect("bash can be started");
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "preview pause");
    for shell in ["zsh", "fish"] {
        assert!(wrong.ok(&["completions", shell]).contains("preview"), "{shell}");
    }
}

#[test]
fn shells_can_read_the_completions() {
    let given = Given::nothing();
    for shell in ["bash", "zsh", "fish"] {
        let script = given.folder.path().join(shell);
        std::fs::write(&script, given.tenure.ok(&["completions", shell])).expect("a file");
        match Command::new(shell).arg("-n").arg(&script).output() {
            Ok(output) => assert!(
                output.status.success() && output.stderr.is_empty(),
                "{shell}: {output:?}"
            ),
            Err(error) if shell != "bash" => skip(&format!("{shell} is not installed: {error}")),
            Err(error) => panic!("{shell}: {error}"),
        }
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let given = Given::nothing();
    given.tenure.ok(&["man", "pages"]);
    let folder = given.folder.path().join("pages");
    let paths = help::commands();
    for path in &paths {
        let name = [&["tenure".to_owned()][..], path.as_slice()].concat().join("-") + ".1";
        let page =
            std::fs::read_to_string(folder.join(&name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let words: Vec<&str> = path.iter().map(String::as_str).collect();
        let command = command(&words);
        for section in [".SH NAME\n", ".SH SYNOPSIS\n", ".SH DESCRIPTION\n"] {
            assert_eq!(page.matches(section).count(), 1, "{name}: {section}\n{page}");
        }
        let examples = help::examples(&command);
        assert!(!examples.is_empty(), "{name}");
        let (_, section) = page
            .split_once(".SH EXAMPLES\n.nf\n")
            .unwrap_or_else(|| panic!("{name} has no examples\n{page}"));
        let (section, _) = section.split_once("\n.fi\n").expect("the end of the examples");
        let section: Vec<String> = section.lines().map(|line| line.replace("\\-", "-")).collect();
        let plain = |line: &String| line.replace('\'', "").replace("\\*(Aq", "").replace("\\(aq", "");
        assert_eq!(
            section.iter().map(plain).collect::<Vec<_>>(),
            examples.iter().map(plain).collect::<Vec<_>>(),
            "{name}"
        );
        let options = command.get_arguments().filter(|option| !option.is_hide_set());
        for long in options.filter_map(clap::Arg::get_long) {
            let long = format!("\\-\\-{}", long.replace('-', "\\-"));
            assert!(page.contains(&long), "{name}: {long}");
        }
    }
    let written = std::fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(written, paths.len(), "no other pages");
    let nowhere = given.tenure.call(&["man", "/proc/nowhere"]);
    assert_eq!(code(&nowhere), 2);
    assert!(
        stderr(&nowhere).contains("cannot write the manual pages"),
        "{}",
        stderr(&nowhere)
    );
}
