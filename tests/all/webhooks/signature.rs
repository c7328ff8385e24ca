//! Signatures, verified by the libraries that receivers use, and the samples of the document.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde_json::{Value, json};
use tenure::wire::webhook::SigningKey;

use super::{Given, add_users, feed};
use crate::support::{packages, repository};

/// A receiver with a library of the specification, in a process of its own.
struct Library {
    child: Child,
    port: u64,
    lines: mpsc::Receiver<String>,
}

/// The folder of the program of the tests.
const TOOLS: &str = "tests/tools/webhooks";

impl Library {
    /// In Node. None: Node or the library is not here, and the test does not run.
    fn with(secrets: &[&str]) -> Option<Self> {
        let mut command = packages::module(TOOLS, "receiver.mjs")?;
        command.args(secrets);
        let mut library = Self::start(command, 0);
        let line: Value = serde_json::from_str(&library.line()).expect("JSON");
        library.port = line["port"].as_u64().expect("a port");
        Some(library)
    }

    fn start(mut command: Command, port: u64) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("it can be started");
        let out = BufReader::new(child.stdout.take().expect("a pipe"));
        let lines = read(out);
        Self { child, port, lines }
    }

    fn line(&self) -> String {
        self.lines.recv_timeout(Duration::from_mins(1)).expect("a line")
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    fn next(&self) -> Value {
        serde_json::from_str(&self.line()).expect("JSON")
    }
}

fn read(out: BufReader<ChildStdout>) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

impl Drop for Library {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn secret_file(given: &Given, name: &str, secret: &str) -> String {
    let file = given.folder.path().join(name);
    std::fs::write(&file, format!("{secret}\n")).expect("a file");
    file.to_string_lossy().into_owned()
}

#[test]
fn the_published_library_verifies_changes_and_pings() {
    let secret = SigningKey::new_secret();
    let Some(library) = Library::with(&[&secret]) else {
        return;
    };
    let given = Given::sqlite("");
    let running = given.tenure().run();
    let file = secret_file(&given, "secret", &secret);
    assert_eq!(
        given.add("crm", &library.url(), &["--secret-file", &file]),
        secret
    );
    add_users(&running, 2, 2);
    for _ in feed(&running) {
        let request = library.next();
        assert_eq!(request["verified"], json!([true]), "{request}");
        assert_eq!(
            request["id"], request["event"],
            "the id of the message is that of the event"
        );
    }
    let ping = given.tenure().json(&["webhook", "test", "crm"]);
    assert_eq!(
        (&ping[0]["status"], &ping[0]["success"]),
        (&json!(204), &json!(true))
    );
    let request = library.next();
    assert_eq!(
        (&request["type"], &request["verified"]),
        (&json!("tenure.ping"), &json!([true]))
    );
}

#[test]
fn a_wrong_secret_does_not_verify() {
    let Some(library) = Library::with(&[&SigningKey::new_secret()]) else {
        return;
    };
    let given = Given::sqlite("");
    given.add("crm", &library.url(), &[]);
    let output = given.tenure().call(&["webhook", "test", "crm"]);
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("answered 401") && text.contains("the signature is wrong"),
        "{text}"
    );
    assert_ne!(library.next()["verified"], json!([true]));
}

#[test]
fn both_secrets_verify_while_one_replaces_the_other() {
    let (old, new) = (SigningKey::new_secret(), SigningKey::new_secret());
    let Some(library) = Library::with(&[&old, &new]) else {
        return;
    };
    let given = Given::sqlite("");
    let (old_file, new_file) = (secret_file(&given, "old", &old), secret_file(&given, "new", &new));
    given.add("crm", &library.url(), &["--secret-file", &old_file]);
    let verified = || {
        given.tenure().json(&["webhook", "test", "crm"]);
        library.next()["verified"].clone()
    };
    let is_verified = |verified: &Value| [verified[0] == true, verified[1] == true];
    assert_eq!(is_verified(&verified()), [true, false]);
    given
        .tenure()
        .ok(&["webhook", "rotate", "crm", "--secret-file", &new_file]);
    assert_eq!(is_verified(&verified()), [true, true]);
    assert!(given.endpoint("crm")["old_secret_until"].is_string());
    // Another rotation without an overlap ends the old ones.
    given.tenure().ok(&[
        "webhook",
        "rotate",
        "crm",
        "--secret-file",
        &new_file,
        "--overlap",
        "0s",
    ]);
    assert_eq!(is_verified(&verified()), [false, true]);
}

/// The receiver in the document.
fn sample_in_node() -> String {
    let document = repository::read("docs/webhooks.md");
    let (_, rest) = document.split_once("```js\n").expect("a sample");
    rest.split_once("```").expect("its end").0.to_owned()
}

/// Runs a sample with the right secret and with another one.
fn try_sample(command: impl Fn() -> Option<Command>) {
    let secret = SigningKey::new_secret();
    let Some(mut right) = command() else { return };
    let mut wrong = command().expect("as before");
    let given = Given::sqlite("");
    let file = secret_file(&given, "secret", &secret);
    let running = given.tenure().run();
    let library = |name: &str, command: &mut Command, secret: &str| {
        let port = crate::support::servers::free_port();
        command
            .env("PORT", port.to_string())
            .env("WEBHOOK_SECRET", secret);
        let command = std::mem::replace(command, Command::new("true"));
        let library = Library::start(command, port.into());
        super::wait("it listens", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        given.add(name, &library.url(), &["--secret-file", &file]);
        library
    };
    let wrong = library("wrong", &mut wrong, &SigningKey::new_secret());
    let right = library("right", &mut right, &secret);
    assert_eq!(running.add_client("c-1").0, 200);
    for id in feed(&running) {
        let line = right.line();
        assert!(line.starts_with(&id) && line.contains("p/c-1"), "{line}");
    }
    running.wait_until("refused", || given.endpoint("wrong")["last_outcome"] == "401");
    drop(wrong);
}

#[test]
fn the_sample_in_node_verifies() {
    try_sample(|| Some(packages::module_in(&packages::node(TOOLS)?, &sample_in_node())));
}

#[test]
fn the_sample_in_python_verifies() {
    try_sample(|| {
        let packages = packages::python("docs/samples/python/requirements.txt")?;
        let mut command = Command::new("python3");
        command
            .env("PYTHONPATH", packages)
            .env("DATABASE", ":memory:")
            .arg(repository::root().join("docs/samples/python/webhook.py"));
        Some(command)
    });
}

/// A receiver with a certificate of an authority that only the settings know.
#[test]
fn a_receiver_over_https_is_verified_with_the_authority_of_the_settings() {
    let secret = SigningKey::new_secret();
    let given = Given::sqlite("");
    let written = |name: &str, text: &str| secret_file(&given, name, text);
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut authority = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let certificate = authority.self_signed(&key).expect("a certificate");
    let issuer = rcgen::Issuer::new(authority, key);
    let server_key = rcgen::KeyPair::generate().expect("a key");
    let server = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    let server = server.signed_by(&server_key, &issuer).expect("a certificate");
    let (authority, server) = (
        written("ca.pem", &certificate.pem()),
        written("server.pem", &server.pem()),
    );
    let server_key = written("server.key", &server_key.serialize_pem());
    let Some(library) = Library::with(&[&secret, "--tls", &server, &server_key]) else {
        return;
    };
    let file = written("secret", &secret);
    given.add(
        "crm",
        &format!("https://localhost:{}/", library.port),
        &["--secret-file", &file],
    );

    let unknown = given.tenure().call(&["webhook", "test", "crm"]);
    let text = String::from_utf8(unknown.stdout).expect("text");
    assert!(
        unknown.status.code() == Some(1) && text.contains("certificate"),
        "{text}"
    );
    let known = given.with(&[("TENURE_WEBHOOKS__CA_FILE", &authority)]);
    assert_eq!(known.json(&["webhook", "test", "crm"])[0]["status"], 204);
    assert_eq!(library.next()["verified"], json!([true]));
}
