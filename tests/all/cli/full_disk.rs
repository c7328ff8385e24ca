//! Standard output that cannot be written: the exit code tells scripts that the output is incomplete.

use super::{Given, code, stderr};

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let given = Given::events();
    for args in [
        &["--help"][..],
        &["--version"],
        &["config"],
        &["client", "list"],
        &["client", "show", "acme/bakery", "--journal"],
        &["dead", "list"],
        &["dead", "show", "1"],
        &["sweep", "list"],
        &["sweep", "preview", "access-expiry"],
        &["verify"],
        &["prune", "--dry-run"],
        &["migrate"],
        &["ingest", "events.ndjson"],
        &["export"],
    ] {
        for json in [&[][..], &["--json"]] {
            let args = [args, json].concat();
            let full = std::fs::File::options().write(true).open("/dev/full");
            let output = given.tenure.printing_into(&args, full.expect("a full disk"));
            let why = stderr(&output);
            assert_eq!(code(&output), 1, "{args:?}: {why}");
            assert!(
                why.contains("standard output: No space left on device"),
                "{args:?}: {why}"
            );
        }
    }
}

#[test]
fn a_closed_reader_is_not_a_failure() {
    let given = Given::events();
    for args in [&["client", "list", "--json"][..], &["config"], &["--help"]] {
        let status = given.tenure.unread(args);
        assert!(status.success(), "{args:?}: {status}");
    }
}
