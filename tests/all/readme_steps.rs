//! The first steps of the README, in both set-ups: each command is run as it stands there.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::support::packages;
use crate::support::repository::read;
use crate::support::servers::{Postgres, RabbitMq, free_port};
use crate::support::tenure::{Running, Tenure, wait_until};

const README: &str = include_str!("../../README.md");
const TOKEN: &str = "development-only";

/// The only block for a shell in the first steps that contains these words.
fn block(words: &str) -> &'static str {
    let (_, steps) = README.split_once("## First steps").expect("the section");
    let (steps, _) = steps.split_once("\n## ").expect("the next section");
    let blocks = steps.split("```sh\n").skip(1);
    let mut found = blocks
        .map(|rest| rest.split("```").next().unwrap_or_default())
        .filter(|block| block.contains(words));
    let first = found.next().unwrap_or_else(|| panic!("no block with {words}"));
    assert_eq!(found.next(), None, "two blocks have {words}");
    first
}

/// The terminal of somebody who follows the README.
struct Terminal {
    folder: PathBuf,
    port: u16,
    env: Vec<(String, String)>,
}

impl Terminal {
    fn new(folder: &Path, port: u16, env: &[(&str, &str)]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_tenure"))
            .parent()
            .expect("a folder");
        let path = std::env::var("PATH").expect("a PATH");
        let mut env: Vec<(String, String)> = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        env.push(("PATH".into(), format!("{}:{path}", program.display())));
        Self {
            folder: folder.to_owned(),
            port,
            env,
        }
    }

    /// The worker of the test is on another port than the default.
    fn shell(&self, script: &str) -> Command {
        let script = script.replace("localhost:8080", &format!("localhost:{}", self.port));
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", &script])
            .current_dir(&self.folder)
            .env_clear()
            .envs(self.env.iter().cloned())
            .stdin(Stdio::null());
        command
    }

    /// Runs a block, which must succeed, and returns what it prints.
    fn run(&self, script: &str) -> String {
        let Output {
            status,
            stdout,
            stderr,
        } = self.shell(script).output().expect("bash can be started");
        let stderr = String::from_utf8_lossy(&stderr);
        assert!(status.success(), "{script}\n{status}\n{stderr}");
        String::from_utf8(stdout).expect("text")
    }

    /// Starts a block whose last command runs until it is interrupted.
    fn start(&self, script: &str) -> Waiting {
        let log = self.folder.join(format!("{}.log", script.len()));
        let file = File::create(&log).expect("a file");
        // The last command replaces the shell, so that the test can end it.
        let (first, last) = script.trim_end().rsplit_once('\n').unwrap_or(("", script));
        let child = self
            .shell(&format!("{first}\nexec {last}"))
            .stdout(file.try_clone().expect("a file"))
            .stderr(file)
            .spawn()
            .expect("bash can be started");
        Waiting { child, log }
    }
}

/// A command that runs until the test ends it.
struct Waiting {
    child: Child,
    log: PathBuf,
}

impl Waiting {
    fn wait_for(&self, words: &str) {
        let printed = || fs::read_to_string(&self.log).unwrap_or_default();
        wait_until(Duration::from_mins(1), || printed().contains(words))
            .unwrap_or_else(|()| panic!("it does not print {words}:\n{}", printed()));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Publishing, looking and following, which need only HTTP.
fn take_the_first_steps(terminal: &Terminal) {
    let publish = block(r#""type":"client.added""#);
    assert!(terminal.run(publish).contains("applied"));
    assert!(terminal.run(publish).contains("duplicate"));
    let state = terminal.run(block("tenure client show"));
    for words in [
        "Bluebird Bakery",
        "client.named",
        "\"link\":\"draft\"",
        "\"allowed\":",
    ] {
        assert!(state.contains(words), "no {words} in:\n{state}");
    }
    let following = terminal.start(block("event-stream"));
    following.wait_for("client.named");
    assert!(
        terminal
            .run(block(r#""type":"client.invited""#))
            .contains("applied")
    );
    following.wait_for("link.invited");
}

/// Copies the samples of a language to the folder of the terminal.
fn copy_samples(terminal: &Terminal, folder: &str) {
    let copy = terminal.folder.join(folder);
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    fs::create_dir_all(&copy).expect("a folder");
    for entry in fs::read_dir(sources).expect("the samples") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            fs::copy(&path, copy.join(path.file_name().expect("a name"))).expect("a copy");
        }
    }
}

/// The samples of a language. `replace` prepares their packages instead of the commands that install them.
fn connect_an_app(terminal: &Terminal, folder: &str, from: &str, replace: &[(&str, &str)]) {
    copy_samples(terminal, folder);
    let script = |words: &str| {
        let replaced = replace
            .iter()
            .fold(block(words).to_owned(), |script, (from, to)| {
                script.replace(from, to)
            });
        assert!(!replaced.contains("install"), "{replaced}");
        replaced
    };
    let subscriber = terminal.start(&script(&format!("publisher.{from} add")));
    subscriber.wait_for("following");
    terminal.run(&script(&format!("publisher.{from} invite")));
    subscriber.wait_for("link.invited");
}

fn with_servers(hint: &str, check: impl FnOnce(&mut Terminal, &Running)) {
    let folder = tempfile::tempdir().expect("a folder");
    let (amqp, database) = (RabbitMq::shared().vhost(hint), Postgres::shared().database(hint));
    let env = [("DATABASE_URL", database.as_str()), ("AMQP_URL", amqp.as_str())];
    let port = free_port();
    // As under Docker Compose, where HTTP needs a token.
    let token = ("TENURE_HTTP__TOKEN", TOKEN);
    let worker = Tenure::new(folder.path(), &[env[0], env[1], token]).run_at(port);
    let url = format!("http://127.0.0.1:{port}");
    let env = [env[0], env[1], ("API_TOKEN", TOKEN), ("API_URL", &url)];
    let mut terminal = Terminal::new(folder.path(), port, &env);
    check(&mut terminal, &worker);
    assert!(worker.stop().success());
}

#[test]
fn the_first_steps_work_embedded() {
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let worker = Tenure::new(folder.path(), &[]).run_at(port);
    take_the_first_steps(&Terminal::new(folder.path(), port, &[("API_TOKEN", "")]));
    assert!(worker.stop().success());
}

#[test]
fn the_first_steps_work_with_servers() {
    with_servers("readme", |terminal, worker| {
        take_the_first_steps(terminal);
        terminal.run(block("tenure publish -"));
        worker.wait_until("its event has arrived", || {
            terminal
                .run("tenure verify acme/c-1 --json")
                .contains("\"events\":3")
        });
    });
}

#[test]
fn the_first_steps_work_in_python() {
    let Some(installed) = packages::python("docs/samples/python/requirements.txt") else {
        return;
    };
    with_servers("readme_python", |terminal, _| {
        let path = installed.display().to_string();
        terminal.env.push(("PYTHONPATH".into(), path));
        let replace = [
            (
                "python3 -m venv .venv\n.venv/bin/pip install -r requirements.txt\n",
                "",
            ),
            (".venv/bin/python", "python3"),
        ];
        connect_an_app(terminal, "docs/samples/python", "py", &replace);
    });
}

#[test]
fn the_first_steps_work_in_node() {
    let Some(installed) = packages::node("docs/samples/node") else {
        return;
    };
    with_servers("readme_node", |terminal, _| {
        let link = format!("ln -s {}/node_modules .\n", installed.display());
        connect_an_app(terminal, "docs/samples/node", "js", &[("npm ci\n", &link)]);
    });
}

/// Adds the endpoint and starts the receiver as the README says, beside an embedded worker, and receives changes.
/// `commands`: those that start the receiver, given its folder.
fn receive_webhooks(commands: impl FnOnce(&Terminal) -> String) {
    let Some(installed) = packages::python("docs/samples/python/requirements.txt") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let port = free_port();
    let worker = Tenure::new(folder.path(), &[]).run_at(port);
    let receiver = free_port().to_string();
    let env = [
        ("API_TOKEN", ""),
        ("PYTHONPATH", installed.to_str().expect("UTF-8")),
        ("PORT", &receiver),
    ];
    let terminal = Terminal::new(folder.path(), port, &env);
    copy_samples(&terminal, "docs/samples/python");
    let samples = folder.path().join("docs/samples/python");
    let before = names_in(&samples);
    terminal.run(block(r#""type":"client.added""#));
    let add = block("tenure webhook add").replace("localhost:8081", &format!("localhost:{receiver}"));
    let commands = commands(&terminal);
    assert!(!commands.contains("install"), "{commands}");
    let receiving = terminal.start(&format!("{add}{commands}"));
    receiving.wait_for("client.named acme/c-1");
    terminal.run(block(r#""type":"client.invited""#));
    receiving.wait_for("link.invited acme/c-1");
    terminal.run("tenure webhook remove try");
    assert_eq!(names_in(&samples), before, "a container may not write there");
    assert!(worker.stop().success());
}

fn names_in(folder: &Path) -> BTreeSet<OsString> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| entry.expect("an entry").file_name())
        .collect()
}

#[test]
fn the_first_steps_work_with_webhooks() {
    receive_webhooks(|_| {
        let install =
            "python3 -m venv .venv\n.venv/bin/pip install -r docs/samples/python/requirements.txt\n";
        let script = block("webhook.py");
        script.replace(install, "").replace(".venv/bin/python", "python3")
    });
}

/// The definition of a service in docker-compose.yml.
fn service(name: &str) -> String {
    let compose = read("docker-compose.yml");
    let (_, rest) = compose
        .split_once(&format!("\n  {name}:\n"))
        .expect("the service");
    rest.lines()
        .take_while(|line| line.starts_with("    "))
        .fold(String::new(), |text, line| text + line.trim() + "\n")
}

/// What the container of the receiver runs, without the container: that of the worker and this one have one network.
#[test]
fn the_first_steps_work_with_webhooks_in_containers() {
    let command = block("docker compose run");
    assert_eq!(command.trim(), "docker compose run --rm webhooks");
    let service = service("webhooks");
    let value = |key: &str| {
        let found = service.lines().find_map(|line| line.strip_prefix(key));
        found.unwrap_or_else(|| panic!("no {key} in\n{service}")).trim()
    };
    assert_eq!(value("network_mode:"), "\"service:tenure\"");
    assert_eq!(value("WEBHOOK_SECRET:"), "", "it comes from the terminal");
    assert!(
        service.contains("- ./docs/samples/python:/samples:ro\n"),
        "{service}"
    );
    let words: Vec<String> = serde_json::from_str(value("command:")).expect("a list of words");
    let (install, start) = words[2].split_once(" && ").expect("two commands");
    assert!(
        install.ends_with("--requirement /samples/requirements.txt"),
        "{install}"
    );

    receive_webhooks(|terminal| {
        let samples = terminal.folder.join("docs/samples/python");
        let database = terminal.folder.join("in-container.db");
        let start = start
            .replace("exec ", "")
            .replace("/samples", &samples.display().to_string());
        assert_eq!(value("DATABASE:"), "/tmp/webhook.db");
        format!("export DATABASE={}\n{start}\n", database.display())
    });
}
