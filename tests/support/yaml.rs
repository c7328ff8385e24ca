//! YAML files of the repository, as JSON.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::packages;
use super::repository::read;

/// The only document of a file. None: its parser cannot be installed here, which is reported.
pub fn document(path: &str) -> Option<Value> {
    let mut documents = documents(path)?;
    assert_eq!(documents.len(), 1, "{path}");
    documents.pop()
}

/// The documents of a file. None: as for [`document`].
pub fn documents(path: &str) -> Option<Vec<Value>> {
    const PROGRAM: &str =
        "import json, sys, yaml; json.dump(list(yaml.safe_load_all(sys.stdin)), sys.stdout)";
    let packages = packages::python("tests/tools/kubernetes/requirements.txt")?;
    let mut python = Command::new("python3")
        .args(["-c", PROGRAM])
        .env("PYTHONPATH", packages)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3, which has installed the packages");
    let mut input = python.stdin.take().expect("a pipe");
    input.write_all(read(path).as_bytes()).expect("it reads");
    drop(input);
    let output = python.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{path} is no YAML");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}
