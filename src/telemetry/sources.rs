//! The sources of Tenure, for tests that compare a list with what the code names.

use std::fs;
use std::path::Path;

/// Passes the text of every source file to `read`, but not that of `except`.
pub(super) fn each(except: &str, read: &mut impl FnMut(&str)) {
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), except, read);
}

fn walk(folder: &Path, except: &str, read: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, except, read);
        } else if path.extension().is_some_and(|end| end == "rs") && !path.ends_with(except) {
            read(&fs::read_to_string(&path).unwrap());
        }
    }
}
