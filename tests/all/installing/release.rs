//! What a release consists of. The steps of the workflow that need no network run here.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::output;
use crate::support::yaml;

const ARCHITECTURE: &str = "${{ matrix.architecture }}";

fn jobs() -> Option<Value> {
    let mut workflow = yaml::document(".github/workflows/release.yml")?;
    Some(workflow["jobs"].take())
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value[field]
        .as_str()
        .unwrap_or_else(|| panic!("no {field} in {value}"))
}

fn steps(job: &Value) -> &[Value] {
    job["steps"].as_array().expect("steps")
}

/// The place and the script of the step that contains these words.
fn script<'v>(job: &'v Value, words: &str) -> (usize, &'v str) {
    let mut scripts = steps(job).iter().map(|step| step["run"].as_str()).enumerate();
    let found =
        scripts.find_map(|(place, script)| Some((place, script?)).filter(|(_, it)| it.contains(words)));
    found.unwrap_or_else(|| panic!("no step has {words:?}: {job}"))
}

/// The step that uses this action, and its place.
fn action<'v>(job: &'v Value, name: &str) -> (usize, &'v Value) {
    let uses = |step: &Value| step["uses"].as_str().is_some_and(|uses| uses.starts_with(name));
    let found = steps(job).iter().enumerate().find(|(_, step)| uses(step));
    found.unwrap_or_else(|| panic!("no step uses {name}: {job}"))
}

/// Runs a script as GitHub does, for this architecture.
fn run(folder: &Path, script: &str, architecture: &str) {
    output(
        Command::new("bash")
            .args(["--noprofile", "--norc", "-eo", "pipefail", "-c"])
            .arg(script.replace(ARCHITECTURE, architecture))
            .current_dir(folder)
            .env("GITHUB_REF_NAME", "v1.2.3"),
    );
}

#[test]
fn a_release_is_built_for_amd64_and_arm64_on_machines_of_their_own() {
    let Some(jobs) = jobs() else { return };
    let build = &jobs["build"];
    let machines = build["strategy"]["matrix"]["include"]
        .as_array()
        .expect("machines");
    let machines: BTreeSet<_> = machines
        .iter()
        .map(|machine| (text(machine, "architecture"), text(machine, "runner")))
        .collect();
    assert_eq!(
        machines,
        BTreeSet::from([("amd64", "ubuntu-24.04"), ("arm64", "ubuntu-24.04-arm")])
    );
    assert_eq!(build["runs-on"], "${{ matrix.runner }}");
    let (_, upload) = action(build, "actions/upload-artifact@");
    assert_eq!(
        upload["with"]["name"], ARCHITECTURE,
        "one would replace the other"
    );
    assert_eq!(upload["with"]["path"], "dist/*");
    let (_, image) = action(&jobs["image"], "docker/build-push-action@");
    assert_eq!(image["with"]["platforms"], "linux/amd64,linux/arm64");
    assert_eq!(image["with"]["push"], true);
}

#[test]
fn a_release_says_what_it_is_made_of() {
    let Some(jobs) = jobs() else { return };
    let build = &jobs["build"];
    let (_, tools) = action(build, "taiki-e/install-action@");
    assert!(
        text(&tools["with"], "tool")
            .split(',')
            .any(|tool| tool == "cargo-cyclonedx")
    );
    let (listed, list) = script(build, "cargo cyclonedx --format json");
    let file = format!("\"dist/tenure-$GITHUB_REF_NAME-{ARCHITECTURE}.cdx.json\"");
    assert!(list.contains(&file), "{list}");
    let (uploaded, _) = action(build, "actions/upload-artifact@");
    assert!(listed < uploaded);
    let (_, image) = action(&jobs["image"], "docker/build-push-action@");
    assert_eq!(image["with"]["sbom"], true);
}

/// The folder in which a release is packed, with short files. `config/debian/package` has filled its target/package.
fn checkout() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for path in [
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "config/default.toml",
        "config/systemd/tenure.service",
        "target/package/tenure",
        "target/package/tenure.debug",
        "target/package/man/tenure.1",
        "target/package/tenure.bash",
        "target/package/tenure.zsh",
        "target/package/tenure.fish",
        "dist/tenure.deb",
    ] {
        let file = folder.path().join(path);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(file, path).expect("a file");
    }
    folder
}

#[test]
fn a_release_has_archives_with_all_that_an_installation_needs_and_checksums() {
    let Some(jobs) = jobs() else { return };
    let folder = checkout();
    let (build, publish) = (&jobs["build"], &jobs["publish"]);
    let (_, package) = script(build, "config/debian/package");
    assert_eq!(package, "config/debian/package --output dist/");
    let (_, pack) = script(build, "tar -czf");
    for architecture in ["amd64", "arm64"] {
        run(folder.path(), pack, architecture);
        let archive = format!("dist/tenure-v1.2.3-linux-{architecture}.tar.gz");
        let listed = output(Command::new("tar").arg("-tzf").arg(folder.path().join(archive)));
        for file in [
            "tenure",
            "tenure.debug",
            "man/tenure.1",
            "tenure.bash",
            "tenure.zsh",
            "tenure.fish",
            "README.md",
            "LICENSE",
            "CHANGELOG.md",
            "default.toml",
            "tenure.service",
        ] {
            let file = format!("tenure-v1.2.3-linux-{architecture}/{file}");
            assert!(listed.lines().any(|line| line == file), "{file} in\n{listed}");
        }
    }

    assert_eq!(publish["needs"], json!(["build", "image"]));
    let (downloaded, download) = action(publish, "actions/download-artifact@");
    assert_eq!(download["with"], json!({"path": "dist", "merge-multiple": true}));
    let (summed, checksums) = script(publish, "SHA256SUMS");
    let (released, release) = script(publish, "gh release create");
    assert!(downloaded < summed && summed < released);
    assert!(release.ends_with(" dist/*"), "{release}");
    assert_eq!(steps(publish)[summed]["working-directory"], "dist");
    let dist = folder.path().join("dist");
    run(&dist, checksums, "");
    let checked = output(
        Command::new("sha256sum")
            .args(["--check", "--strict", "SHA256SUMS"])
            .current_dir(&dist)
            .env("LC_ALL", "C"),
    );
    let checked: Vec<&str> = checked.lines().collect();
    assert_eq!(
        checked,
        [
            "tenure-v1.2.3-linux-amd64.tar.gz: OK",
            "tenure-v1.2.3-linux-arm64.tar.gz: OK",
            "tenure.deb: OK"
        ]
    );
}
