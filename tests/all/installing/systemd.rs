//! The systemd unit.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tenure::config::Settings;

use super::output;
use crate::support::packages;
use crate::support::repository::{read, root};

/// The most that `systemd-analyze security` may find: 2.0 of 10.
const EXPOSURE: &str = "20";

#[test]
fn systemd_accepts_the_unit_and_finds_it_hardened() {
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("tenure.service");
    // It must name a program that is there.
    let text = read("config/systemd/tenure.service").replace("/usr/bin/tenure", env!("CARGO_BIN_EXE_tenure"));
    std::fs::write(&unit, &text).expect("a file");
    let analyze = |args: &[&str], unit: &Path| {
        let mut systemd = Command::new("systemd-analyze");
        systemd.args(args).arg(unit);
        systemd.output()
    };
    let verify = ["verify", "--man=no"];
    let verified = match analyze(&verify, &unit) {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return packages::skip("systemd-analyze is not installed (Debian: systemd)");
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    };
    let printed = |output: &Output| {
        let printed = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        printed.into_owned()
    };
    // It succeeds in spite of a key that it does not know.
    let said = printed(&verified);
    assert!(
        verified.status.success() && !said.contains("tenure.service"),
        "{said}"
    );
    let misspelt = folder.path().join("misspelt.service");
    std::fs::write(&misspelt, text.replace("PrivateTmp", "PrivateTemp")).expect("a file");
    let said = printed(&analyze(&verify, &misspelt).expect("systemd-analyze"));
    assert!(said.contains("PrivateTemp"), "{said}");

    let help = analyze(&["--help"], &unit).expect("systemd-analyze");
    if !printed(&help).contains("--threshold") {
        return packages::skip("systemd-analyze is older than 250 and cannot check the security of a file");
    }
    let secure = [
        "security",
        "--no-pager",
        "--offline=true",
        "--threshold",
        EXPOSURE,
    ];
    let checked = analyze(&secure, &unit).expect("systemd-analyze");
    assert!(checked.status.success(), "{}", printed(&checked));
}

/// The values of a key of the unit.
fn values<'u>(unit: &'u str, key: &str) -> Vec<&'u str> {
    let pairs = unit.lines().filter_map(|line| line.split_once('='));
    pairs
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

fn seconds(unit: &str, key: &str) -> u64 {
    let values = values(unit, key);
    let [value] = values[..] else {
        panic!("{key}: {values:?}");
    };
    humantime::parse_duration(value).expect("a duration").as_secs()
}

/// What a worker reports is tested by `operations::a_worker_reports_to_systemd_that_it_is_ready_alive_and_stopping`.
#[test]
fn systemd_waits_for_the_worker_watches_it_and_lets_it_finish() {
    let unit = read("config/systemd/tenure.service");
    assert_eq!(values(&unit, "Type"), ["notify"]);
    assert!(seconds(&unit, "WatchdogSec") > 0);
    assert_eq!(values(&unit, "TimeoutStartSec"), ["infinity"]);
    let settings = Settings::load(None, std::iter::empty()).expect("the defaults");
    assert!(seconds(&unit, "TimeoutStopSec") > settings.shutdown.timeout.as_secs());
    assert_eq!(values(&unit, "Restart"), ["on-failure"]);
    assert_eq!(
        values(&unit, "RestartPreventExitStatus"),
        ["2"],
        "a restart repairs no setting"
    );
}

#[test]
fn the_package_enables_the_unit_and_does_not_start_it() {
    let unit = read("config/systemd/tenure.service");
    assert_eq!(values(&unit, "WantedBy"), ["multi-user.target"]);
    let metadata = output(
        Command::new(env!("CARGO"))
            .args(["metadata", "--no-deps", "--format-version", "1"])
            .current_dir(root()),
    );
    let metadata: Value = serde_json::from_str(&metadata).expect("JSON");
    let units = &metadata["packages"][0]["metadata"]["deb"]["systemd-units"];
    assert_eq!(
        units,
        &serde_json::json!({"unit-scripts": "config/systemd", "enable": true, "start": false})
    );
}
