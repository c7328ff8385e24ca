//! `RUST_LOG`: a filter that is unreadable or matches nothing is a usage error.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

#[test]
fn a_filter_that_is_not_utf8_or_matches_nothing_stops_the_start() {
    let folder = tempfile::tempdir().expect("a folder");
    for (filter, words) in [
        (&b"\xff=debug"[..], "it is not UTF-8"),
        (b"tenure::brokr=debug", "no module `tenure::brokr`"),
        (b"info=debug", "`info` is a level"),
        (b"Tenure=info", "`Tenure` is not a module path"),
    ] {
        let output = Command::new("timeout")
            .args(["20", env!("CARGO_BIN_EXE_tenure"), "run"])
            .current_dir(folder.path())
            .env_clear()
            .env("TENURE_HTTP__LISTEN", "127.0.0.1:0")
            .env("RUST_LOG", OsStr::from_bytes(filter))
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .output()
            .expect("timeout can be started");
        let why = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{why}");
        assert!(why.contains("RUST_LOG") && why.contains(words), "{why}");
    }
}
