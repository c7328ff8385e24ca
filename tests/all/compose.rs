//! `docker-compose.yml`, as far as it can be checked without a Docker daemon: what a container reads is mounted where it looks for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::packages;
use crate::support::repository::{read, root};
use crate::support::yaml;

/// Text of the file without the variables that its user may set: `${NAME:-default}` is its default.
fn with_defaults(text: &str) -> String {
    let Some((before, rest)) = text.split_once("${") else {
        return text.to_owned();
    };
    let (variable, after) = rest.split_once('}').expect("the end of a variable");
    let (_, default) = variable.split_once(":-").expect("a default");
    format!("{before}{default}{}", with_defaults(after))
}

/// The files and folders of the repository that a service mounts, each with its path in the container.
fn mounts(service: &Value) -> Vec<(PathBuf, String)> {
    let volumes = service["volumes"].as_array().expect("volumes");
    let mount = |volume: &Value| {
        let volume = with_defaults(volume.as_str().expect("text"));
        let (source, rest) = volume.split_once(':').expect("a source and a target");
        // Other sources are volumes of Docker.
        let source = source.strip_prefix("./")?;
        let target = rest.split(':').next().expect("a target");
        Some((root().join(source), target.to_owned()))
    };
    volumes.iter().filter_map(mount).collect()
}

/// The file of the repository that a service has at this path.
fn mounted(service: &Value, path: &str) -> PathBuf {
    let found = mounts(service).into_iter().find_map(|(source, target)| {
        let below = Path::new(path).strip_prefix(&target).ok()?;
        Some(if below.as_os_str().is_empty() {
            source
        } else {
            source.join(below)
        })
    });
    found.unwrap_or_else(|| panic!("nothing is mounted at {path}"))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name");
        std::fs::copy(&path, to.join(name)).expect("a copy");
    }
}

#[test]
fn every_file_that_a_service_mounts_is_there() {
    let Some(compose) = yaml::document("docker-compose.yml") else {
        return;
    };
    let services = compose["services"].as_object().expect("services");
    let mut files = 0;
    for (name, service) in services
        .iter()
        .filter(|(_, service)| service["volumes"].is_array())
    {
        for (source, target) in mounts(service) {
            assert!(source.exists(), "{name} mounts {} at {target}", source.display());
            files += 1;
        }
    }
    assert!(files > 5);
}

#[test]
fn docker_compose_accepts_the_file_with_each_profile() {
    let compose = || {
        let mut docker = Command::new("docker");
        docker.arg("compose").current_dir(root());
        docker
    };
    if !compose()
        .arg("version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return packages::skip(
            "docker compose is not installed (Debian: docker-compose-plugin of docker.com)",
        );
    }
    for profile in ["webhooks", "observability"] {
        let output = compose()
            .args(["--profile", profile, "config", "--quiet"])
            .output()
            .expect("docker");
        let printed = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && printed.is_empty(),
            "{profile}: {printed}"
        );
    }
}

/// In a folder with the files where the container has them.
#[test]
fn prometheus_finds_its_rules_and_its_token_and_scrapes_the_worker() {
    const CONFIG: &str = "/etc/prometheus/prometheus.yml";
    const TOKEN: &str = "/run/secrets/tenure_token";
    let (Some(compose), Some(config)) = (
        yaml::document("docker-compose.yml"),
        yaml::document("config/prometheus/prometheus.yml"),
    ) else {
        return;
    };
    let prometheus = &compose["services"]["prometheus"];
    assert_eq!(
        mounted(prometheus, CONFIG),
        root().join("config/prometheus/prometheus.yml"),
        "where the image looks for its configuration"
    );
    assert_eq!(prometheus["secrets"][0], "tenure_token");
    let token = with_defaults(
        compose["secrets"]["tenure_token"]["file"]
            .as_str()
            .expect("a file"),
    );
    let token = read(token.trim_start_matches("./"));
    let worker = &compose["services"]["tenure"]["environment"];
    let expected = with_defaults(worker["TENURE_HTTP__TOKEN"].as_str().expect("a token"));
    assert_eq!(token.trim(), expected, "the worker wants another token");

    let job = &config["scrape_configs"][0];
    assert_eq!(job["authorization"]["credentials_file"], TOKEN);
    let (_, port) = worker["TENURE_HTTP__LISTEN"]
        .as_str()
        .and_then(|listen| listen.rsplit_once(':'))
        .expect("an address");
    assert_eq!(job["static_configs"][0]["targets"][0], format!("tenure:{port}"));

    let container = tempfile::tempdir().expect("a folder");
    let inside = |path: &str| container.path().join(path.trim_start_matches('/'));
    for (source, target) in mounts(prometheus) {
        copy(&source, &inside(&target));
    }
    let secret = inside(TOKEN);
    std::fs::create_dir_all(secret.parent().expect("a folder")).expect("a folder");
    std::fs::write(&secret, &token).expect("a file");
    let moved = read("config/prometheus/prometheus.yml").replace(TOKEN, secret.to_str().expect("text"));
    std::fs::write(inside(CONFIG), moved).expect("a file");
    let promtool = || {
        let mut promtool = Command::new("promtool");
        promtool.args(["check", "config"]).arg(inside(CONFIG));
        promtool.output()
    };
    let output = match promtool() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return packages::skip("promtool is not installed (Debian: prometheus)");
        }
        Err(error) => panic!("promtool: {error}"),
    };
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{printed}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("rules found"), "{printed}");
    std::fs::remove_file(&secret).expect("removed");
    assert!(
        !promtool().expect("promtool").status.success(),
        "it must notice a file that is not mounted"
    );
}

#[test]
fn grafana_finds_its_provisioning_and_its_dashboards() {
    let (Some(compose), Some(dashboards), Some(sources)) = (
        yaml::document("docker-compose.yml"),
        yaml::document("config/grafana/provisioning/dashboards/tenure.yml"),
        yaml::document("config/grafana/provisioning/datasources/prometheus.yml"),
    ) else {
        return;
    };
    let services = &compose["services"];
    let grafana = &services["grafana"];
    // Where the image looks for them.
    for kind in ["dashboards", "datasources"] {
        let folder = mounted(grafana, &format!("/etc/grafana/provisioning/{kind}"));
        assert_eq!(folder, root().join("config/grafana/provisioning").join(kind));
    }
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let folder = mounted(grafana, &text(&dashboards["providers"][0]["options"]["path"]));
    let home = mounted(
        grafana,
        &text(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]),
    );
    assert_eq!(home, folder.join("tenure.json"));
    let home: Value = serde_json::from_str(&std::fs::read_to_string(home).expect("a file")).expect("JSON");
    assert!(home["panels"].as_array().is_some_and(|panels| !panels.is_empty()));

    let source = &sources["datasources"][0];
    assert_eq!(source["type"], "prometheus");
    assert_eq!(source["isDefault"], true);
    let url: url::Url = text(&source["url"]).parse().expect("a URL");
    let service = &services[url.host_str().expect("a host")];
    let port = format!(":{}", url.port().expect("a port"));
    let published = service["ports"].as_array().expect("ports").iter();
    assert!(
        published.map(text).any(|mapping| mapping.ends_with(&port)),
        "{service} does not listen on {port}"
    );
    assert_eq!(grafana["profiles"], service["profiles"]);
}
