//! TLS to both servers, with certificates from an authority that the test creates: which connections succeed, and what the
//! errors say.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;

use crate::support::servers::{Postgres, RabbitMq, name_in};
use crate::support::tenure::Tenure;

/// The password in every URL here. No output may contain it.
const PASSWORD: &str = "hunter2-hush";

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for a name, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("parameters");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }
}

fn written(folder: &Path, name: &str, text: &str) -> String {
    let path: PathBuf = folder.join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

/// Runs a command that must fail, with all of these texts in its output.
fn refused(tenure: &Tenure, args: &[&str], words: &[&str]) {
    let output = tenure.call(args);
    let text = [output.stderr, output.stdout]
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .concat();
    assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
    assert!(!text.contains(PASSWORD), "{text}");
}

#[test]
fn postgresql_certificates_are_verified() {
    let server = Postgres::own();
    let database = server.database("tls");
    let folder = tempfile::tempdir().expect("a folder");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let our_file = written(folder.path(), "ours.pem", &ours.pem);
    let their_file = written(folder.path(), "theirs.pem", &theirs.pem);
    let at = |host: &str, mode: &str, authority: &str| {
        let (port, name) = (server.port(), name_in(&database));
        let url = format!(
            "postgres://postgres:{PASSWORD}@{host}:{port}/{name}?sslmode={mode}&sslrootcert={authority}"
        );
        Tenure::new(folder.path(), &[("DATABASE_URL", &url)])
    };
    let migrate = &["migrate"];

    let plain = ["server does not support TLS", "ssl = on", "sslmode=disable"];
    refused(&at("localhost", "verify-full", &our_file), migrate, &plain);

    let (certificate, key) = ours.sign("localhost");
    server.enable_tls(&certificate, &key);
    at("localhost", "verify-full", &our_file).ok(migrate);
    at("localhost", "verify-ca", &our_file).ok(migrate);
    let stranger = ["not signed by a trusted authority", "sslrootcert=FILE"];
    refused(&at("localhost", "verify-full", &their_file), migrate, &stranger);
    refused(&at("localhost", "verify-ca", &their_file), migrate, &stranger);
    let name = [
        "is valid for localhost, not for `127.0.0.1`",
        "connect by one of its names",
    ];
    refused(&at("127.0.0.1", "verify-full", &our_file), migrate, &name);

    let running = at("localhost", "verify-full", &our_file).run();
    let encrypted = "select count(*) from pg_stat_ssl join pg_stat_activity using (pid)
                     where application_name like 'tenure%' and ssl";
    assert_ne!(server.sql("postgres", encrypted), "0");
    assert!(running.stop().success());
}

/// `openssl req -x509` creates such a certificate.
#[test]
fn the_certificate_of_an_authority_as_a_server_certificate_is_explained() {
    let server = Postgres::own();
    let database = server.database("self_signed");
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(["localhost".to_owned()]).expect("parameters");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    server.enable_tls(&certificate, &key.serialize_pem());
    let file = written(folder.path(), "self.pem", &certificate);
    let (port, name) = (server.port(), name_in(&database));
    let url = format!(
        "postgres://postgres:{PASSWORD}@localhost:{port}/{name}?sslmode=verify-full&sslrootcert={file}"
    );
    let tenure = Tenure::new(folder.path(), &[("DATABASE_URL", &url)]);
    let words = ["is that of an authority (CA:TRUE)", "sslrootcert=FILE"];
    refused(&tenure, &["migrate"], &words);
}

/// A URL has an IPv6 address in brackets, which are not part of the address.
#[test]
fn postgresql_at_an_ipv6_address() {
    let server = Postgres::with_settings(&["listen_addresses=127.0.0.1,::1"]);
    let database = server.database("ipv6");
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new("ours");
    let file = written(folder.path(), "ours.pem", &authority.pem);
    let (certificate, key) = authority.sign("::1");
    let at = |parameters: &str| {
        let (port, name) = (server.port(), name_in(&database));
        let url = format!("postgres://postgres:{PASSWORD}@[::1]:{port}/{name}{parameters}");
        Tenure::new(folder.path(), &[("DATABASE_URL", &url)])
    };
    at("").ok(&["migrate"]);
    server.enable_tls(&certificate, &key);
    at("").ok(&["migrate"]);
    at("?sslmode=require").ok(&["migrate"]);
    at(&format!("?sslmode=verify-full&sslrootcert={file}")).ok(&["migrate"]);
    at("?sslmode=disable").ok(&["migrate"]);
}

#[test]
fn rabbitmq_and_tenure_verify_each_others_certificates() {
    let broker = RabbitMq::own();
    let plain = broker.vhost("tls");
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let (certificate, key) = ours.sign("localhost");
    let port = broker.enable_tls(&ours.pem, &certificate, &key);
    broker.manage(
        "PUT",
        "users/guest",
        Some(&json!({ "password": PASSWORD, "tags": "administrator" })),
    );

    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, pem: &str| written(folder.path(), name, pem);
    let (our_file, their_file) = (write("ours.pem", &ours.pem), write("theirs.pem", &theirs.pem));
    let identity = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.sign("tenure");
        (
            write(&format!("{name}.pem"), &certificate),
            write(&format!("{name}.key"), &key),
        )
    };
    let (good, bad) = (identity(&ours, "good"), identity(&theirs, "bad"));
    let at = |host: &str, port: u16, authority: &str, identity: Option<&(String, String)>| {
        let url = format!("amqps://guest:{PASSWORD}@{host}:{port}/{}", name_in(&plain));
        let (certificate, key) = identity.cloned().unwrap_or_default();
        Tenure::new(
            folder.path(),
            &[
                ("AMQP_URL", &url),
                ("TENURE_BROKER__CA_FILE", authority),
                ("TENURE_BROKER__CERT_FILE", &certificate),
                ("TENURE_BROKER__KEY_FILE", &key),
            ],
        )
    };
    let event = json!({
        "specversion": "1.0", "id": "1", "source": "/space", "type": "client.added", "subject": "p/c",
        "time": "2026-01-05T09:00:00Z", "data": { "name": "c" },
    });
    let events = write("events.ndjson", &event.to_string());
    let publish = &["publish", events.as_str()];

    at("localhost", port, &our_file, Some(&good)).ok(publish);
    let stranger = ["not signed by a trusted authority", "broker.ca_file"];
    refused(
        &at("localhost", port, &their_file, Some(&good)),
        publish,
        &stranger,
    );
    refused(&at("localhost", port, "", Some(&good)), publish, &stranger);
    let name = ["localhost", "not for `127.0.0.1`", "connect by one of its names"];
    refused(&at("127.0.0.1", port, &our_file, Some(&good)), publish, &name);
    let client = [
        "a client certificate that it trusts",
        "broker.cert_file and broker.key_file",
    ];
    refused(&at("localhost", port, &our_file, None), publish, &client);
    refused(&at("localhost", port, &our_file, Some(&bad)), publish, &client);
    let no_tls = ["does not speak TLS", "amqp://"];
    refused(
        &at("localhost", broker.port(), &our_file, Some(&good)),
        publish,
        &no_tls,
    );

    let running = at("localhost", port, &our_file, Some(&good)).run();
    running.wait_until("ingested", || running.get("/v1/partners/p/clients/c").0 == 200);
    assert!(running.stop().success());
}

#[test]
fn missing_and_empty_files_are_reported_before_any_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let empty = written(folder.path(), "empty.pem", "nothing");
    let url = |name: &str| format!("amqps://guest:{PASSWORD}@{name}/%2f");
    for (env, words) in [
        (
            [
                ("AMQP_URL", url("h")),
                ("TENURE_BROKER__CA_FILE", "nowhere.pem".into()),
            ],
            "broker.ca_file",
        ),
        (
            [
                ("AMQP_URL", url("h")),
                ("TENURE_BROKER__CERT_FILE", empty.clone()),
            ],
            "broker.key_file",
        ),
        (
            [("AMQP_URL", url("h")), ("TENURE_BROKER__CA_FILE", empty.clone())],
            "holds no certificate",
        ),
        (
            [
                ("AMQP_URL", url("h") + "?cacertfile=nowhere.pem"),
                ("TENURE_LOG__LEVEL", "trace".into()),
            ],
            "heartbeat",
        ),
        (
            [
                (
                    "DATABASE_URL",
                    format!("postgres://u:{PASSWORD}@h/n?sslrootcert=nowhere.pem"),
                ),
                ("TENURE_LOG__LEVEL", "trace".into()),
            ],
            "a readable file in the parameter sslrootcert",
        ),
    ] {
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain([("TENURE_HTTP__LISTEN", "")])
            .collect();
        let output = Tenure::new(folder.path(), &env).call(&["run"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains(words), "no `{words}` in: {text}");
        assert!(!text.contains(PASSWORD), "{text}");
    }
}
