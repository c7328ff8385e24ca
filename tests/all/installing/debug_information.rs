//! The debug information is in a file of its own, which a debugger finds by the name that the stripped program has of it.

use std::path::Path;
use std::process::Command;

use super::{is_installed, output, package, packager};
use crate::support::packages;
use crate::support::repository::read;

/// It does what Tenure does, by starting it.
const PROGRAM: &str = "\
#include <unistd.h>
int main(int count, char **arguments) { (void)count; return execv(TENURE, arguments); }
";

/// Compiles a small program with debug information. None, which is reported: a tool for that is not installed.
fn compile(to: &Path) -> Option<()> {
    for (program, package) in [("cc", "gcc"), ("objcopy", "binutils"), ("readelf", "binutils")] {
        if !is_installed(program, &["--version"]) {
            packages::skip(&format!("{program} is not installed (Debian: {package})"));
            return None;
        }
    }
    let source = to.with_extension("c");
    std::fs::write(&source, PROGRAM).expect("a file");
    output(
        Command::new("cc")
            .args([
                "-g",
                concat!("-DTENURE=\"", env!("CARGO_BIN_EXE_tenure"), "\""),
                "-o",
            ])
            .args([to, &source]),
    );
    std::fs::remove_file(&source).expect("removed");
    Some(())
}

/// Asserts that a program has no debug information, but names this file, which has it.
fn assert_is_in_its_own_file(program: &Path, debug: &Path) {
    let readelf =
        |option: &str, file: &Path| output(Command::new("readelf").args(["--wide", option]).arg(file));
    let sections = readelf("--sections", program);
    assert!(!sections.contains(".debug_info"), "{sections}");
    let sections = readelf("--sections", debug);
    assert!(sections.contains(".debug_info"), "{sections}");
    let link = readelf("--string-dump=.gnu_debuglink", program);
    let name = debug.file_name().and_then(|name| name.to_str()).expect("a name");
    assert!(link.lines().any(|line| line.ends_with(name)), "{name} in {link}");
}

/// The commands of the Dockerfile that separate it run here.
#[test]
fn the_image_has_no_debug_information_and_the_target_debug_has_it() {
    let dockerfile = read("Dockerfile").replace("\\\n", " ");
    let commands = dockerfile
        .lines()
        .filter_map(|line| line.strip_prefix("RUN "))
        .flat_map(|line| line.split("&&"))
        .map(str::trim)
        .filter(|command| command.starts_with("objcopy "));
    let commands: Vec<String> = commands
        .map(|command| command.replace("/usr/local/", "built/"))
        .collect();
    assert!(!commands.is_empty(), "{dockerfile}");

    let stages: Vec<&str> = dockerfile.split("\nFROM ").collect();
    let copies = |stage: &str| -> Vec<String> {
        let copies = stage
            .lines()
            .filter_map(|line| line.strip_prefix("COPY --from=build "));
        copies
            .map(|copy| {
                copy.split(' ')
                    .next()
                    .expect("a file")
                    .replace("/usr/local/", "built/")
            })
            .collect()
    };
    let debug = stages
        .iter()
        .find(|stage| stage.starts_with("scratch AS debug\n"))
        .expect("a target");
    let image = stages.last().expect("an image");
    let (program, debug) = (copies(image), copies(debug));
    let ([program], [debug]) = (&program[..], &debug[..]) else {
        panic!("each has one file of the build: {stages:?}");
    };

    let folder = tempfile::tempdir().expect("a folder");
    for inner in ["target/release", "built/bin", "built/lib"] {
        std::fs::create_dir_all(folder.path().join(inner)).expect("a folder");
    }
    if compile(&folder.path().join("target/release/tenure")).is_none() {
        return;
    }
    for command in commands {
        let mut words = command.split_whitespace();
        let mut objcopy = Command::new(words.next().expect("a program"));
        output(objcopy.args(words).current_dir(folder.path()));
    }
    assert_is_in_its_own_file(&folder.path().join(program), &folder.path().join(debug));
}

#[test]
fn the_debian_package_has_a_stripped_program_and_its_debug_information() {
    let Some(path) = packager() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    if compile(&at("tenure")).is_none() {
        return;
    }
    package(&at("tenure"), &at("tenure.deb"), &path);
    output(
        Command::new("dpkg-deb")
            .arg("--extract")
            .args([at("tenure.deb"), at("unpacked")]),
    );
    let debug = at("unpacked/usr/lib/debug/usr/bin/tenure.debug");
    assert_is_in_its_own_file(&at("unpacked/usr/bin/tenure"), &debug);
}
