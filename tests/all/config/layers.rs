//! Where settings come from: the defaults, a file and the environment, and which one wins.

use chrono::TimeDelta;

use super::{load, load_file};

#[test]
fn the_environment_overrides_the_file_and_the_file_overrides_the_defaults() {
    let file = "[access]\nidle = \"30d\"\nwarn_before = [\"2d\", \"5d\"]\n[broker]\nlanes = 4\n";
    let settings = load_file(file, &[("TENURE_BROKER__LANES", "8"), ("UNRELATED", "x")]).unwrap();
    assert_eq!(settings.policy().access_idle, TimeDelta::days(30));
    assert_eq!(
        settings.policy().warn_before,
        [TimeDelta::days(5), TimeDelta::days(2)]
    );
    assert_eq!(settings.broker.lanes, 8);
    assert_eq!(settings.broker.prefetch, 4000);

    let origin = |key: &str| {
        let shown = settings.shown().iter().find(|shown| shown.key == key).unwrap();
        shown.origin.clone()
    };
    assert!(origin("access.idle").ends_with("tenure.toml"));
    assert_eq!(
        origin("broker.lanes"),
        "the environment variable TENURE_BROKER__LANES"
    );
    assert_eq!(origin("broker.prefetch"), "the defaults");
}

#[test]
fn tenure_variables_override_database_url_and_amqp_url() {
    let url = |env: &[(&str, &str)]| load(env).unwrap().store.url.to_string();
    assert_eq!(url(&[("DATABASE_URL", "sqlite://a.db")]), "sqlite://a.db");
    assert_eq!(url(&[("DATABASE_URL", "")]), "sqlite://tenure.db");
    for order in [[0, 1], [1, 0]] {
        let both = [
            ("DATABASE_URL", "sqlite://a.db"),
            ("TENURE_STORE__URL", "sqlite:///b.db"),
        ];
        assert_eq!(url(&order.map(|i| both[i])), "sqlite:///b.db");
    }
    let settings = load_file(
        "store.url = \"sqlite://file.db\"",
        &[
            ("DATABASE_URL", "postgresql://db/t"),
            ("AMQP_URL", "amqps://mq/v"),
        ],
    )
    .unwrap();
    assert_eq!(settings.store.url.to_string(), "postgresql://db/t");
    assert_eq!(settings.broker.url.unwrap().to_string(), "amqps://mq/v");
}

#[test]
fn variables_of_opentelemetry_set_where_traces_go_and_tenure_variables_override_them() {
    let settings = load(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=s3cret"),
        ("OTEL_SERVICE_NAME", "billing"),
        ("TENURE_TELEMETRY__SERVICE_NAME", "tenure-eu"),
    ])
    .unwrap();
    let telemetry = &settings.telemetry;
    assert_eq!(
        telemetry.traces_url.as_ref().unwrap().as_str(),
        "http://collector:4318/v1/traces"
    );
    assert_eq!(telemetry.headers[0].1.reveal(), "s3cret");
    assert_eq!(telemetry.service_name, "tenure-eu");
    assert!(!settings.redacted_toml().contains("s3cret"));
    assert_eq!(traces_url(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]), None);
}

fn traces_url(env: &[(&str, &str)]) -> Option<String> {
    let telemetry = load(env).unwrap().telemetry;
    telemetry.traces_url.map(String::from)
}

#[test]
fn the_variable_of_opentelemetry_for_traces_is_used_as_it_is() {
    let all = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all:4318");
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces:4318");
    for env in [&[traces][..], &[all, traces]] {
        assert_eq!(traces_url(env).as_deref(), Some("http://traces:4318/"), "{env:?}");
    }
    let empty = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "");
    assert_eq!(
        traces_url(&[all, empty]).as_deref(),
        Some("http://all:4318/v1/traces")
    );
    let own = ("TENURE_TELEMETRY__OTLP_ENDPOINT", "http://own:4318");
    assert_eq!(
        traces_url(&[all, traces, own]).as_deref(),
        Some("http://own:4318/v1/traces")
    );
    let off = ("TENURE_TELEMETRY__OTLP_ENDPOINT", "");
    assert_eq!(traces_url(&[all, traces, off]), None);
    let exact = ("TENURE_TELEMETRY__OTLP_TRACES_ENDPOINT", "http://own:4318/spans");
    assert_eq!(
        traces_url(&[all, traces, own, exact]).as_deref(),
        Some("http://own:4318/spans")
    );

    let headers = load(&[
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "x-traces=1"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-all=1"),
    ]);
    let headers = headers.unwrap().telemetry.headers;
    assert_eq!(headers.len(), 1);
    assert_eq!(headers[0].0, "x-traces");
}

#[test]
fn a_list_in_the_environment_may_have_the_syntax_of_a_file() {
    let settings = load(&[
        ("TENURE_HTTP__HOSTS", "[\"a.example\", '10.0.0.7']"),
        ("TENURE_ACCESS__WARN_BEFORE", "[\"14d\", \"7d\"]"),
    ])
    .unwrap();
    assert_eq!(settings.http.hosts, ["a.example", "10.0.0.7"]);
    assert_eq!(
        settings.policy().warn_before,
        [TimeDelta::days(14), TimeDelta::days(7)]
    );
    let settings = load(&[
        ("TENURE_HTTP__HOSTS", "[::1], a"),
        ("TENURE_ACCESS__WARN_BEFORE", "[]"),
    ])
    .unwrap();
    assert_eq!(settings.http.hosts, ["::1", "a"]);
    assert!(settings.policy().warn_before.is_empty());
    for list in ["[\"14d 7d\"]", "[14d]", "[\"14d\""] {
        assert!(load(&[("TENURE_ACCESS__WARN_BEFORE", list)]).is_err(), "{list}");
    }
}

/// The variables that Kubernetes sets for services of a release called `tenure`, and Docker for a link.
#[test]
fn service_links_are_ignored_and_misspelt_settings_are_rejected() {
    let links = [
        ("TENURE_SERVICE_HOST", "10.0.0.9"),
        ("TENURE_SERVICE_PORT", "8080"),
        ("TENURE_SERVICE_PORT_HTTP", "8080"),
        ("TENURE_PORT", "tcp://10.0.0.9:8080"),
        ("TENURE_PORT_8080_TCP", "tcp://10.0.0.9:8080"),
        ("TENURE_PORT_8080_TCP_PROTO", "tcp"),
        ("TENURE_PORT_8080_TCP_PORT", "8080"),
        ("TENURE_PORT_8080_TCP_ADDR", "10.0.0.9"),
        ("TENURE_RABBITMQ_SERVICE_HOST", "fd00::5"),
        ("TENURE_RABBITMQ_PORT", "tcp://[fd00::5]:5672"),
        ("TENURE_POSTGRESQL_SERVICE_PORT_TCP_POSTGRESQL", "5432"),
        ("TENURE_HTTP_PORT_8080_UDP", "udp://10.0.0.7:8080"),
        ("TENURE_HTTP_TOKEN_SERVICE_HOST", "10.0.0.3"),
        ("TENURE_CONFIG_PORT", "tcp://10.0.0.3:80"),
        ("TENURE_DB_NAME", "/worker/db"),
        ("TENURE_DB_ENV_POSTGRES_PASSWORD", "x"),
        ("TENURE_RABBITMQ_ENV_RABBITMQ__X", "x"),
        ("TENURE_PORT_8080_TCP_START", "tcp://1.2.3.4:8080"),
        ("TENURE_PORT_8080_TCP_END", "tcp://1.2.3.4:8090"),
        ("TENURE_PORT_8080_TCP_PORT_START", "8080"),
        ("TENURE_PORT_8080_TCP_PORT_END", "8090"),
        ("TENURE__DB_SERVICE_HOST", "10.0.0.1"),
        ("TENURE_MQ_PORT_5672_TCP_ADDR", "fe80::1%eth0"),
    ];
    let settings = load(&[&links[..], &[("TENURE_BROKER__LANES", "3")]].concat()).unwrap();
    assert_eq!(settings.broker.lanes, 3);
    let mut names = links.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(settings.service_links(), names);
    for (name, value) in [
        ("TENURE_PORT", "8080"),
        ("TENURE_HTTP_PORT", "8080"),
        ("TENURE_HTTP__PORT", "tcp://10.0.0.9:8080"),
        ("TENURE_SERVICE_HOST", "tenure.example.com"),
        ("TENURE_SERVICE_URL", "http://10.0.0.9"),
        ("TENURE_STORE_URL", "postgres://u:p@10.0.0.9:5432/x"),
        ("TENURE_CONFIGURATION", "x"),
        ("TENURE_DB_NAME", "tenure"),
        ("TENURE_DB_ENV_POSTGRES_PASSWORD", "x"),
        ("TENURE_HTTP__SERVICE_PORT", "8080"),
    ] {
        let message = load(&[(name, value)]).expect_err(name).to_string();
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn sources_are_named_in_a_file_or_in_one_variable() {
    let expected = [
        ("/Account-App".to_owned(), TimeDelta::hours(6)),
        ("https://space.example/a=b".to_owned(), TimeDelta::hours(36)),
    ];
    let file = "[sources]\n\"/Account-App\" = \"6h\"\n'https://space.example/a=b' = \"1d 12h\"\n";
    let of_file = load_file(file, &[]).unwrap();
    assert_eq!(of_file.sources.expected, expected.clone().into());
    for text in [
        "/Account-App=6h, https://space.example/a=b = 36h",
        "{ '/Account-App' = '6h', \"https://space.example/a=b\" = \"36h\" }",
    ] {
        let settings = load_file("sources = { '/other' = '1d' }", &[("TENURE_SOURCES", text)]).unwrap();
        assert_eq!(settings.sources.expected, expected.clone().into(), "{text}");
    }
    assert!(load(&[]).unwrap().sources.expected.is_empty());
    assert!(
        load_file(file, &[("TENURE_SOURCES", "")])
            .unwrap()
            .sources
            .expected
            .is_empty()
    );

    let printed = load_file("[sources]\n'/a \"1\"' = '6h'\nb = '1d'\n", &[]).unwrap();
    let again = load_file(&printed.redacted_toml(), &[]).unwrap();
    assert_eq!(again.sources.expected, printed.sources.expected);
}

#[test]
fn access_during_a_silence_is_denied_unless_the_settings_allow_it() {
    use tenure::config::OnSilence;
    assert_eq!(load(&[]).unwrap().sources.on_silence, OnSilence::Deny);
    let allowed = load(&[("TENURE_ACCESS__ON_SILENCE", "allow")]).unwrap();
    assert_eq!(allowed.sources.on_silence, OnSilence::Allow);
    assert_eq!(allowed.policy(), load(&[]).unwrap().policy());
}

const TOKENS: &str = r#"
    [[http.tokens]]
    name = "reports"
    token = "s3cret-of-the-reports"
    scopes = ["read"]
    partners = ["acme", "branch"]
    [[http.tokens]]
    name = "app"
    token = "s3cret-of-the-application"
    scopes = ["publish", "operate"]
"#;

#[test]
fn tokens_are_listed_in_a_file_or_in_one_variable() {
    use tenure::config::{Partners, Scope};
    let of_file = load_file(TOKENS, &[("TENURE_HTTP__TOKEN", "s3cret")]).unwrap();
    let names: Vec<&str> = of_file.http.tokens.iter().map(|token| &*token.name).collect();
    assert_eq!(names, ["default", "reports", "app"]);
    let [all, reports, app] = &of_file.http.tokens[..] else {
        panic!("three tokens")
    };
    assert_eq!(all.scopes.iter().collect::<Vec<_>>(), Scope::ALL);
    assert_eq!(all.partners, Partners::All);
    assert_eq!(reports.secret.reveal(), "s3cret-of-the-reports");
    assert_eq!(reports.scopes.iter().collect::<Vec<_>>(), [Scope::Read]);
    for (partner, expected) in [("acme", true), ("branch", true), ("rival", false)] {
        assert_eq!(reports.partners.allow(partner), expected, "{partner}");
    }
    assert_eq!(
        app.scopes.iter().collect::<Vec<_>>(),
        [Scope::Publish, Scope::Operate]
    );
    assert_eq!(app.partners, Partners::All);

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "s3cret-in-a-file-of-its-own\n").unwrap();
    let text = format!(
        "[{{ name = 'a', token_file = '{}', scopes = ['read'] }}]",
        file.display()
    );
    let settings = load_file(TOKENS, &[("TENURE_HTTP__TOKENS", &text)]).unwrap();
    assert_eq!(settings.http.tokens.len(), 1);
    assert_eq!(
        settings.http.tokens[0].secret.reveal(),
        "s3cret-in-a-file-of-its-own"
    );
    for settings in [&of_file, &settings] {
        let printed = format!("{} {}", settings.redacted_toml(), settings.redacted());
        assert!(!printed.contains("s3cret"), "{printed}");
    }
    // What is printed can be read again, apart from the secrets.
    let printed = of_file
        .redacted_toml()
        .replacen("\"***\"", "\"another-secret-1\"", 1);
    let printed = printed.replacen("\"***\"", "\"another-secret-2\"", 1);
    let printed = printed.replacen("\"***\"", "\"another-secret-3\"", 1);
    let again = load_file(&printed, &[]).unwrap();
    assert_eq!(again.http.tokens.len(), 3);
    assert_eq!(again.http.tokens[1].partners, reports.partners);
}
