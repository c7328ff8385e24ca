//! What installs Tenure: the Debian package, images, Kubernetes manifests, and the workflow that releases them.

mod debug_information;
mod kubernetes;
mod release;
mod systemd;

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::{env, iter};

use crate::support::packages;
use crate::support::repository::{read, root};
use crate::support::servers::free_port;

/// Runs a program, which must succeed, and returns its standard output.
fn output(command: &mut Command) -> String {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{command:?}: {}\n{stdout}\n{stderr}",
        output.status
    );
    stdout.into_owned()
}

fn is_installed(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).output();
    output.is_ok_and(|output| output.status.success())
}

/// A `PATH` with cargo-deb. None, which is reported: no Debian package can be built here.
fn packager() -> Option<OsString> {
    if !is_installed("dpkg", &["--version"]) {
        packages::skip("dpkg is not installed");
        return None;
    }
    let path = env::var_os("PATH").unwrap_or_default();
    if is_installed("cargo", &["deb", "--version"]) {
        return Some(path);
    }
    let packager = packages::cargo("tests/tools/debian/packager")?;
    let folders = iter::once(packager.join("bin")).chain(env::split_paths(&path));
    Some(env::join_paths(folders).expect("no folder has a colon in its name"))
}

/// Builds the Debian package of a program with the packager of this `PATH`.
fn package(program: &Path, to: &Path, path: &OsStr) {
    // It uses the folder target/package.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    output(
        Command::new(root().join("config/debian/package"))
            .args(["--fast", "--output"])
            .arg(to)
            .env("PACKAGE_BINARY", program)
            .env("PATH", path)
            .env_remove("CARGO_MANIFEST_DIR"),
    );
}

#[test]
fn the_debian_package_installs_starts_and_leaves() {
    let Some(path) = packager() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let (binary, package_file) = (folder.path().join("tenure"), folder.path().join("tenure.deb"));
    // Its debug information would take minutes to compress.
    output(
        Command::new("strip")
            .arg("-o")
            .arg(&binary)
            .arg(env!("CARGO_BIN_EXE_tenure")),
    );
    package(&binary, &package_file, &path);
    let files = output(Command::new("dpkg-deb").arg("--contents").arg(&package_file));
    for file in [
        "./usr/bin/tenure",
        "./etc/tenure/tenure.toml",
        "./usr/lib/debug/usr/bin/tenure.debug",
        "./usr/lib/systemd/system/tenure.service",
        "./usr/share/man/man1/tenure.1.gz",
        "./usr/share/man/man1/tenure-sweep-pause.1.gz",
        "./usr/share/bash-completion/completions/tenure",
        "./usr/share/zsh/vendor-completions/_tenure",
        "./usr/share/fish/vendor_completions.d/tenure.fish",
        "./usr/share/doc/tenure/default.toml",
        "./usr/share/doc/tenure/copyright",
    ] {
        assert!(
            files.lines().any(|line| line.ends_with(&format!(" {file}"))),
            "{file} in\n{files}"
        );
    }

    let copy = folder.path().join("machine");
    std::fs::create_dir(&copy).expect("a folder");
    let tried = Command::new(root().join("tests/tools/debian/try-package"))
        .args([&copy, &package_file])
        .arg(free_port().to_string())
        .output()
        .expect("it can be started");
    if tried.status.code() == Some(3) {
        packages::skip("the package is built, but not installed: no rights to mount an overlay");
        return;
    }
    let stdout = String::from_utf8_lossy(&tried.stdout);
    assert!(
        tried.status.success(),
        "{stdout}\n{}",
        String::from_utf8_lossy(&tried.stderr)
    );
    for line in [
        concat!("installed tenure ", env!("CARGO_PKG_VERSION")),
        "ready",
        "stopped 0",
        "removed, with its settings kept",
        "purged, with its store kept",
    ] {
        assert!(
            stdout.lines().any(|printed| printed == line),
            "{line} in\n{stdout}"
        );
    }
    let enabled = |line: &str| {
        line.starts_with("enabled ") && line.ends_with("/multi-user.target.wants/tenure.service")
    };
    assert!(stdout.lines().any(enabled), "{stdout}");
}

#[test]
fn the_workflows_are_valid() {
    let Some(mut lint) = packages::module("tests/tools/workflows", "lint.mjs") else {
        return;
    };
    output(lint.args(["ci.yml", "release.yml"].map(|name| root().join(".github/workflows").join(name))));
}

#[test]
fn the_image_and_the_manifests_have_the_version_of_the_program() {
    const VERSION: &str = env!("CARGO_PKG_VERSION");
    let (dockerfile, manifests) = (read("Dockerfile"), read("config/kubernetes/tenure.yaml"));
    let built: Vec<&str> = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("ARG VERSION="))
        .collect();
    assert_eq!(built, [VERSION]);
    let started: Vec<&str> = manifests
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: tenure:"))
        .collect();
    assert_eq!(started, [VERSION]);
}

/// A tag such as `postgres:17` means another image next month.
#[test]
fn every_image_is_pinned_to_a_release() {
    let (dockerfile, compose) = (read("Dockerfile"), read("docker-compose.yml"));
    let built = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM "));
    let built = built.filter_map(|line| line.split(' ').next());
    let started = compose
        .lines()
        .filter_map(|line| line.trim().strip_prefix("image: "));
    let images: Vec<&str> = built
        .chain(started)
        .filter(|image| !["scratch", "tenure"].contains(image))
        .collect();
    assert!(images.len() >= 6, "{images:?}");
    for image in images {
        let (_, tag) = image
            .split_once(':')
            .unwrap_or_else(|| panic!("{image} has no tag"));
        let release = tag.trim_start_matches('v').split('-').next().unwrap_or_default();
        let parts: Vec<_> = release.split('.').map(str::parse::<u32>).collect();
        assert!(parts.len() >= 2 && parts.iter().all(Result::is_ok), "{image}");
    }
}
