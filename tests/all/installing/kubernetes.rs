//! The Kubernetes manifests.

use std::process::Command;

use serde_json::{Value, json};
use tenure::config::Settings;

use super::output;
use crate::support::repository::root;
use crate::support::tenure::Tenure;
use crate::support::{http_client, packages, yaml};

#[test]
fn kubernetes_accepts_the_manifests() {
    let manifests =
        ["tenure.yaml", "servicemonitor.yaml"].map(|name| root().join("config/kubernetes").join(name));
    let Some(python) = packages::python("tests/tools/kubernetes/requirements.txt") else {
        return;
    };
    let Some(mut validate) = packages::module("tests/tools/kubernetes", "validate.mjs") else {
        return;
    };
    let checked = output(
        Command::new("python3")
            .args([
                "-m",
                "kubernetes_validate",
                "--strict",
                "--kubernetes-version",
                "1.33",
            ])
            .arg(&manifests[0])
            .env("PYTHONPATH", python),
    );
    let kinds = [
        "secret",
        "configmap",
        "deployment",
        "service",
        "poddisruptionbudget",
    ];
    for kind in kinds {
        assert!(
            checked.contains(&format!("passed for resource {kind}/tenure")),
            "{checked}"
        );
    }
    assert_eq!(
        checked.matches("passed for resource").count(),
        kinds.len(),
        "{checked}"
    );
    assert_eq!(output(validate.arg(&manifests[1])).trim(), "1");
}

/// The manifests of config/kubernetes/tenure.yaml, each of another kind.
struct Manifests(Vec<Value>);

impl Manifests {
    /// None, which is reported: they cannot be read here.
    fn read() -> Option<Self> {
        Some(Self(yaml::documents("config/kubernetes/tenure.yaml")?))
    }

    fn of(&self, kind: &str) -> &Value {
        let found = self.0.iter().find(|manifest| manifest["kind"] == kind);
        found.unwrap_or_else(|| panic!("no {kind}"))
    }

    fn pod(&self) -> &Value {
        &self.of("Deployment")["spec"]["template"]
    }

    fn container(&self) -> &Value {
        let containers = self.pod()["spec"]["containers"].as_array().expect("containers");
        assert_eq!(containers.len(), 1);
        &containers[0]
    }

    fn token(&self) -> &str {
        text(&self.of("Secret")["stringData"]["TENURE_HTTP__TOKEN"])
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

#[test]
fn every_probe_asks_for_a_page_that_the_worker_serves_without_a_token() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let config = manifests.of("ConfigMap")["data"].as_object().expect("settings");
    let mut settings: Vec<(&str, &str)> = config
        .iter()
        .map(|(name, value)| (name.as_str(), text(value)))
        .collect();
    settings.push(("TENURE_HTTP__TOKEN", manifests.token()));
    let folder = tempfile::tempdir().expect("a folder");
    // It listens on a free port, whatever the settings say.
    let worker = Tenure::new(folder.path(), &settings).run();
    let container = manifests.container();
    for (probe, path) in [
        ("startupProbe", "/livez"),
        ("livenessProbe", "/livez"),
        ("readinessProbe", "/readyz"),
    ] {
        let get = &container[probe]["httpGet"];
        assert_eq!(
            (&get["path"], &get["port"]),
            (&json!(path), &json!("http")),
            "{probe}"
        );
        let (status, page) = worker.get(path);
        assert_eq!(status, 200, "{probe}: {page}");
    }
    assert!(worker.stop().success());
}

#[test]
fn the_port_of_the_service_is_the_one_that_the_worker_listens_on() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let listen = text(&manifests.of("ConfigMap")["data"]["TENURE_HTTP__LISTEN"]);
    let (address, port) = listen.rsplit_once(':').expect("an address");
    assert_eq!(
        address, "0.0.0.0",
        "of the pod, and not only of the container itself"
    );
    let port: u16 = port.parse().expect("a port");
    let container = manifests.container();
    assert_eq!(
        container["ports"],
        json!([{"name": "http", "containerPort": port}])
    );
    let service = &manifests.of("Service")["spec"];
    assert_eq!(
        service["ports"],
        json!([{"name": "http", "port": port, "targetPort": "http"}])
    );
    let sources = container["envFrom"].as_array().expect("sources");
    for (kind, field) in [("ConfigMap", "configMapRef"), ("Secret", "secretRef")] {
        let name = &manifests.of(kind)["metadata"]["name"];
        assert!(
            sources.iter().any(|source| source[field]["name"] == *name),
            "{kind}"
        );
    }
}

#[test]
fn a_pod_may_be_evicted_while_another_works_and_has_time_to_finish() {
    let Some(manifests) = Manifests::read() else {
        return;
    };
    let deployment = &manifests.of("Deployment")["spec"];
    let budget = &manifests.of("PodDisruptionBudget")["spec"];
    let number = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("{value} is no number"));
    let needed = number(&budget["minAvailable"]);
    assert!(needed >= 1 && number(&deployment["replicas"]) > needed);
    let labels = &manifests.pod()["metadata"]["labels"];
    for selector in [
        &budget["selector"]["matchLabels"],
        &deployment["selector"]["matchLabels"],
        &manifests.of("Service")["spec"]["selector"],
    ] {
        assert_eq!(selector, labels);
    }
    let settings = Settings::load(None, std::iter::empty()).expect("the defaults");
    let grace = number(&manifests.pod()["spec"]["terminationGracePeriodSeconds"]);
    assert!(grace > settings.shutdown.timeout.as_secs());
}

#[tokio::test]
async fn prometheus_reads_the_metrics_with_the_token_of_the_secret() {
    let (Some(manifests), Some(monitor)) = (
        Manifests::read(),
        yaml::document("config/kubernetes/servicemonitor.yaml"),
    ) else {
        return;
    };
    let service = manifests.of("Service");
    assert_eq!(
        monitor["spec"]["selector"]["matchLabels"],
        service["metadata"]["labels"]
    );
    let endpoint = &monitor["spec"]["endpoints"][0];
    assert_eq!(endpoint["port"], service["spec"]["ports"][0]["name"]);
    let credentials = &endpoint["authorization"]["credentials"];
    let secret = manifests.of("Secret");
    assert_eq!(credentials["name"], secret["metadata"]["name"]);
    let token = text(&secret["stringData"][text(&credentials["key"])]);
    assert_eq!(token, manifests.token());

    let folder = tempfile::tempdir().expect("a folder");
    let worker = Tenure::new(folder.path(), &[("TENURE_HTTP__TOKEN", token)]).run();
    let path = text(&endpoint["path"]);
    assert_eq!(worker.get(path).0, 401, "without the token");
    let asked = http_client()
        .get(format!("http://{}{path}", worker.address))
        .bearer_auth(token);
    let page = asked.send().await.expect("a response");
    assert_eq!(page.status(), 200);
    assert!(page.text().await.expect("text").contains("\ntenure_"));
    assert!(worker.stop().success());
}
