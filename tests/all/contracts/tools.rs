//! The contracts pass the tools of their standards, and a running worker passes schemathesis.

use std::path::Path;
use std::process::Command;

use crate::support::packages;
use crate::support::repository::root;
use crate::support::tenure::Tenure;

fn run(command: &mut Command) -> (bool, String) {
    let output = command.output().expect("the program starts");
    let text = [output.stdout, output.stderr]
        .map(|part| String::from_utf8_lossy(&part).into_owned())
        .concat();
    (output.status.success(), text)
}

#[test]
fn the_contracts_pass_the_tools_of_their_standards() {
    let Some(tools) = packages::node("tests/tools/contracts") else {
        return;
    };
    let mut command = Command::new("node");
    command
        .arg(root().join("tests/tools/contracts/validate.mjs"))
        .arg(root().join("docs/contracts"))
        .arg(tools);
    let (passed, text) = run(&mut command);
    assert!(passed, "{text}");
    assert!(
        text.contains("messages") && text.contains("paths") && text.contains("schemas"),
        "{text}"
    );
}

/// The feed, whose requests wait for changes.
const FEED: &str = "/v1/changes";

/// `tenure run` on a store with clients in it, asked by schemathesis whatever the document allows, and what it does not.
#[test]
fn schemathesis_finds_no_fault_in_a_running_worker() {
    let Some(tools) = packages::python("tests/tools/contracts/requirements.txt") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let tenure = Tenure::new(
        folder.path(),
        &[("TENURE_ACCESS__LOG", "90d"), ("TENURE_HTTP__TIMEOUT", "5s")],
    );
    let events: Vec<String> = tenure::contracts::stories()
        .into_iter()
        .flat_map(|story| story.events)
        .map(|event| String::from_utf8(tenure::wire::event(&event)).expect("text"))
        .collect();
    std::fs::write(folder.path().join("events.ndjson"), events.join("\n")).expect("written");
    tenure.ok(&["ingest", "events.ndjson"]);
    let running = tenure.run();
    let operations = tenure::http::openapi()["paths"]
        .as_object()
        .into_iter()
        .flat_map(|paths| paths.values())
        .filter_map(|methods| methods.as_object().map(serde_json::Map::len))
        .sum::<usize>();
    // Two processes: its own threads crash on Python 3.11.
    let (tools, folder, address) = (&tools, folder.path(), &running.address);
    std::thread::scope(|scope| {
        for (filter, count) in [("--include-path", 1), ("--exclude-path", operations - 1)] {
            scope.spawn(move || {
                let (passed, text) = run(schemathesis(tools, folder, address).args([filter, FEED]));
                assert!(passed, "{text}");
                assert!(text.contains(&format!("Tested: {count}\n")), "{text}");
            });
        }
    });
}

fn schemathesis(tools: &Path, folder: &Path, address: &str) -> Command {
    let mut command = Command::new("python3");
    command
        .current_dir(folder)
        .env("PYTHONPATH", tools)
        .env("NO_COLOR", "1")
        .arg(tools.join("bin/schemathesis"))
        .arg("--config-file")
        .arg(root().join("tests/tools/contracts/schemathesis.toml"))
        // Of a document at a URL, schemathesis leaves out the operation with this URL.
        .arg("run")
        .arg(root().join("docs/contracts/openapi.json"))
        .args(["--url", &format!("http://{address}")])
        .args(["--checks", "all", "--no-color", "--seed", "1"])
        .args([
            "--max-examples",
            "10",
            "--workers",
            "1",
            "--request-timeout",
            "20",
        ]);
    command
}
