//! Describes the machine, the servers and the commit of a run.

use std::fs;
use std::process::Command;

use crate::environment::Environment;

/// The machine, the versions of the servers and the commit, one line each.
pub fn described(environment: &Environment) -> Vec<String> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, model)| model.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory_kib: f64 = memory
        .lines()
        .find_map(|line| {
            line.strip_prefix("MemTotal:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .unwrap_or_default();
    let overview = environment.rabbit.manage("GET", "overview", None);
    let rabbit = overview["rabbitmq_version"]
        .as_str()
        .unwrap_or("of an unknown version");
    let postgres = environment.postgres.sql("postgres", "show server_version");
    vec![
        format!(
            "{model}, {cores} cores, {:.0} GiB memory; Tenure, the servers and the benchmark share this machine",
            memory_kib / f64::from(1 << 20)
        ),
        format!(
            "load average before the run: {:.1} (one minute)",
            environment.load_before
        ),
        format!(
            "PostgreSQL {postgres}, RabbitMQ {rabbit}, Tenure at commit {}",
            environment.commit
        ),
    ]
}

/// The load average of the last minute.
pub fn load() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ')
        .next()
        .and_then(|load| load.parse().ok())
        .unwrap_or_default()
}

/// The commit of the sources.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let done = Command::new("git")
            .args(args)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .ok()?;
        let output = String::from_utf8(done.stdout).ok()?;
        done.status.success().then(|| output.trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else {
        return "unknown".into();
    };
    let is_clean = git(&["status", "--porcelain", "--", "src", "benches", "Cargo.lock"])
        .is_some_and(|output| output.is_empty());
    if is_clean {
        commit
    } else {
        format!("{commit} with changes")
    }
}
