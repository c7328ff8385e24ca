//! Passwords and tokens in settings: nothing shows them.

use tenure::config::Settings;

use super::{load, load_file};

#[test]
fn secrets_are_never_shown() {
    let secrets = [
        (
            "TENURE_STORE__URL",
            "postgres://me:hunter2@db/t?sslmode=require&password=hunter2",
        ),
        ("TENURE_BROKER__URL", "amqp://me:hunter2@mq/v"),
        ("TENURE_HTTP__TOKEN", "hunter2"),
    ];
    let settings = load(&secrets).unwrap();
    for shown in [
        settings.redacted().to_string(),
        settings.redacted_toml(),
        format!("{settings:?}"),
        format!("{} {}", settings.store.url, settings.broker.url.as_ref().unwrap()),
    ] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let redacted = settings.redacted();
    assert_eq!(
        redacted["store"]["url"],
        "postgres://me:***@db/t?sslmode=require&password=***"
    );
    assert_eq!(redacted["broker"]["url"], "amqp://me:***@mq/v");
    assert_eq!(redacted["http"]["token"], "***");
    assert_eq!(redacted["sweeps"]["access-expiry"]["enabled"], true);

    // Nor in the error for a URL that does not parse.
    for (name, value) in [
        ("TENURE_STORE__URL", "mysql://me:hunter2@db/t"),
        ("TENURE_STORE__URL", "postgres://me:pa?hunter2@db/t"),
        ("TENURE_STORE__URL", "postgres://me:hun/hunter2@db:port/t"),
        ("TENURE_BROKER__URL", "me:hunter2@mq"),
        ("TENURE_BROKER__URL", "http://me:a@hunter2@mq"),
        ("TENURE_HTTP__TOKEN", "hunter2 hunter2"),
        ("DATABASE_URL", "host=localhost user=u password=hunter2 dbname=x"),
        ("DATABASE_URL", "Server=h;User Id=u;Password=hunter2;Database=x"),
        ("DATABASE_URL", "postgres://u:hunter2"),
        ("DATABASE_URL", "postgres://u:hunter2/h/db"),
        ("DATABASE_URL", "postgres:u:hunter2@h/db"),
        ("DATABASE_URL", "sqlite:x.db;password=hunter2"),
        ("AMQP_URL", "amqp://u:hunter2"),
        ("AMQP_URL", "user=u;password=hunter2;host=h"),
        ("AMQP_URL", "h:5672 u hunter2"),
        ("TENURE_HTTP__LISTEN", "u:hunter2@127.0.0.1:80"),
        ("TENURE_HTTP__LISTEN", "u:hunter2"),
        ("TENURE_HTTP__HOSTS", "u:hunter2@h"),
        ("TENURE_BROKER__LANES", "amqp://u:hunter2@h"),
        ("TENURE_BROKER__CA_FILE", "amqp://u:hunter2@h"),
        ("TENURE_STORE__URL postgres://u:hunter2@h", "x"),
    ] {
        let message = load(&[(name, value)]).expect_err(value).to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
    for file in [
        "[store]\n\"postgres://u:hunter2@h/db\" = 1",
        "\"postgres://u:hunter2@h/db\" = 1",
        "[\"amqp://u:hunter2@h\"]\nurl = 1",
        "[store]\n\"postgres://u:hunter2@h/db\" = 1\n\"postgres://u:hunter2@h/db\" = 2",
    ] {
        let message = load_file(file, &[]).expect_err(file).to_string();
        assert!(!message.contains("hunter2"), "{message}");
    }
    // Refused or not: as long as it is in force, `tenure config` shows it.
    let url = "postgres://h/db?user=u:hunter2";
    let shown = load(&[("DATABASE_URL", url)]).map_or_else(
        |error| error.to_string(),
        |settings| format!("{}{}", settings.redacted_toml(), settings.store.url),
    );
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn secrets_of_endpoints_are_never_shown() {
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let endpoint = format!(
        "crm = {{ url = \"https://crm.example.com/h\", secret = \"{secret}\", types = [\"link.*\"] }}"
    );
    let in_file = load_file(&format!("[webhooks.endpoints]\n{endpoint}"), &[]).unwrap();
    let in_variable = load(&[("TENURE_WEBHOOKS__ENDPOINTS", &format!("{{ {endpoint} }}"))]).unwrap();
    for settings in [&in_file, &in_variable] {
        assert_eq!(settings.webhooks.endpoints["crm"].secrets[0].reveal(), secret);
        for shown in [
            settings.redacted().to_string(),
            settings.redacted_toml(),
            format!("{settings:?}"),
        ] {
            assert!(!shown.contains("MfKQ"), "{shown}");
        }
    }
    let toml = in_file.redacted_toml();
    let line = "\"crm\" = { \"secret\" = \"***\", \"types\" = [\"link.*\"], \"url\" = \"https://crm.example.com/h\" }";
    assert!(
        toml.contains("[webhooks.endpoints]") && toml.contains(line),
        "{toml}"
    );
    assert_eq!(in_variable.redacted()["webhooks"]["endpoints"], "***");
}

#[test]
fn an_invalid_file_is_named_without_its_contents() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tenure.toml");
    std::fs::write(&file, "[store]\nurl = \"postgres://me:hunter2@db/t\n").unwrap();
    let error = Settings::load(Some(&file), std::iter::empty())
        .unwrap_err()
        .to_string();
    assert!(error.contains("tenure.toml"), "{error}");
    assert!(error.contains("line 2"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
}
