//! Alerts, dashboards, runbooks, and the files that install Tenure.

use std::collections::BTreeSet;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::packages;
use crate::support::repository::{read, root};
use crate::support::tenure::Tenure;

const UPDATE: &str = "TENURE_TEST_UPDATE_METRICS";

/// The names and types of the metrics that the code declares.
pub fn declared() -> Vec<(String, String)> {
    let table = tenure::telemetry::metrics_table();
    let rows = table.lines().skip(2).map(|row| {
        let mut cells = row
            .trim_matches('|')
            .split('|')
            .map(|cell| cell.trim().trim_matches('`'));
        let mut next = || cells.next().expect("a cell").to_owned();
        (next(), next())
    });
    rows.collect()
}

/// The words that look like names of metrics.
fn metrics_in(text: &str) -> BTreeSet<&str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("tenure_") || word.starts_with("process_"))
        .collect()
}

/// The names under which Prometheus stores the declared metrics.
fn series() -> BTreeSet<String> {
    let of_metric = |(name, kind): (String, String)| match kind.as_str() {
        "histogram" => ["bucket", "sum", "count"]
            .map(|end| format!("{name}_{end}"))
            .to_vec(),
        _ => vec![name],
    };
    declared().into_iter().flat_map(of_metric).collect()
}

fn expressions(dashboard: &Value) -> Vec<&str> {
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    targets
        .map(|target| target["expr"].as_str().expect("a query"))
        .collect()
}

/// The series that alerts and the dashboard query.
pub fn queried() -> BTreeSet<String> {
    let alerts = read("config/prometheus/alerts.yml");
    let queries: Vec<&str> = alerts
        .lines()
        .filter(|line| line.trim().starts_with("expr:"))
        .collect();
    let dashboard = serde_json::from_str(&read("config/grafana/dashboards/tenure.json")).expect("JSON");
    assert!(queries.len() > 10 && expressions(&dashboard).len() > 20);
    queries
        .into_iter()
        .chain(expressions(&dashboard))
        .flat_map(metrics_in)
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_metric_of_the_alerts_and_the_dashboard_is_declared() {
    let known = series();
    let unknown: Vec<String> = queried()
        .into_iter()
        .filter(|metric| !known.contains(metric))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

fn alerts() -> Vec<String> {
    let text = read("config/prometheus/alerts.yml");
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- alert: "));
    names.map(str::to_owned).collect()
}

#[test]
fn every_alert_has_a_runbook_and_unit_tests() {
    let (rules, tests) = (
        read("config/prometheus/alerts.yml"),
        read("config/prometheus/tests.yml"),
    );
    let operations = read("docs/operations.md");
    assert!(alerts().len() > 10);
    for alert in alerts() {
        let link = format!("runbook: docs/operations.md#{}", alert.to_lowercase());
        assert!(rules.contains(&link), "{alert} has no runbook link");
        let (_, runbook) = operations
            .split_once(&format!("### {alert}\n"))
            .unwrap_or_else(|| panic!("docs/operations.md has no runbook of {alert}"));
        let runbook = runbook.split("\n#").next().expect("text");
        for part in ["**Meaning:**", "**Look:**", "**Do:**", "**Escalate:**"] {
            assert!(runbook.contains(part), "the runbook of {alert} has no {part}");
        }
        for case in ["fires", "stays quiet"] {
            assert!(
                tests.contains(&format!("- name: {alert} {case}\n")),
                "{alert} {case}"
            );
        }
    }
}

#[test]
fn promtool_accepts_the_alerts_and_their_unit_tests() {
    for args in [
        ["check", "rules", "alerts.yml"],
        ["check", "config", "--syntax-only"],
        ["test", "rules", "tests.yml"],
    ] {
        let mut command = Command::new("promtool");
        command.args(args).current_dir(root().join("config/prometheus"));
        if args[1] == "config" {
            command.arg("prometheus.yml");
        }
        let output = match command.output() {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return packages::skip("promtool is not installed (Debian: prometheus)");
            }
            Err(error) => panic!("promtool: {error}"),
        };
        let printed = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "promtool {args:?}: {printed}");
    }
}

/// Compares a table in `docs/operations.md` with the code.
fn check_table(name: &str, table: &str) {
    let (begin, end) = (
        format!("<!-- {name}: begin -->\n"),
        format!("<!-- {name}: end -->"),
    );
    let document = read("docs/operations.md");
    let (head, rest) = document.split_once(&begin).expect("the begin of the table");
    let (_, tail) = rest.split_once(&end).expect("the end of the table");
    let expected = format!("{head}{begin}{table}{end}{tail}");
    if std::env::var_os(UPDATE).is_some() {
        std::fs::write(root().join("docs/operations.md"), &expected).expect("written");
        return;
    }
    assert!(
        document == expected,
        "the {name} in docs/operations.md are out of date; run `{UPDATE}=1 cargo test --test all operations::the_document`"
    );
}

/// In one test: both tables are in one file.
#[test]
fn the_document_lists_every_metric_and_every_field_of_the_log() {
    check_table("metrics", &tenure::telemetry::metrics_table());
    check_table("log fields", &tenure::telemetry::log_fields_table());
}

/// A folder with a socket that stands for systemd's.
fn systemd(name: &str) -> (tempfile::TempDir, PathBuf, UnixDatagram) {
    let folder = tempfile::Builder::new().prefix(name).tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(Duration::from_mins(1)))
        .expect("a timeout");
    (folder, path, socket)
}

fn next(socket: &UnixDatagram) -> String {
    let mut message = [0; 256];
    let length = socket.recv(&mut message).expect("a message");
    String::from_utf8_lossy(&message[..length]).trim().to_owned()
}

#[test]
fn a_worker_reports_to_systemd_that_it_is_ready_alive_and_stopping() {
    let (folder, path, socket) = systemd("systemd");
    let settings = [
        ("NOTIFY_SOCKET", path.to_str().expect("text")),
        ("WATCHDOG_USEC", "200000"),
    ];
    let running = Tenure::new(folder.path(), &settings).run();
    assert_eq!(next(&socket), "READY=1");
    assert_eq!([next(&socket), next(&socket)], ["WATCHDOG=1", "WATCHDOG=1"]);
    assert!(running.stop().success());
    let last = std::iter::repeat_with(|| next(&socket)).find(|message| message != "WATCHDOG=1");
    assert_eq!(last.as_deref(), Some("STOPPING=1"));
}

#[test]
fn health_succeeds_only_while_a_ready_worker_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let running = Tenure::new(folder.path(), &[]).run();
    let address = running.address.trim_start_matches("http://").to_owned();
    let asking = Tenure::new(folder.path(), &[("TENURE_HTTP__LISTEN", &address)]);
    running.wait_until("ready", || asking.call(&["health"]).status.success());
    assert_eq!(asking.ok(&["health"]), "healthy\n");
    assert_eq!(asking.json(&["health", "--live"])[0]["alive"], true);
    assert!(running.stop().success());
    let gone = asking.call(&["health"]);
    assert_eq!(gone.status.code(), Some(1));
    let error = String::from_utf8_lossy(&gone.stderr).into_owned();
    assert!(
        error.contains(&format!("cannot ask the worker at {address}")),
        "{error}"
    );
}
