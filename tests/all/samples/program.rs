//! Starts the samples. Those of a language that is not there do not run, and say so.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::support::packages;
use crate::support::tenure::wait_until;

const LIMIT: Duration = Duration::from_mins(3);

#[derive(Clone, Copy, Debug)]
pub enum Language {
    Python,
    Node,
    Rust,
    Curl,
}

/// The samples of a language in a folder of the test, where they also have their files.
#[derive(Clone, Debug)]
pub struct Samples {
    language: Language,
    folder: PathBuf,
    /// Python's packages.
    packages: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl Samples {
    /// None if the language or its packages are not there.
    pub fn new(language: Language, folder: &Path, env: &[(&str, &str)]) -> Option<Self> {
        let packages = match language {
            Language::Python => Some(packages::python("docs/samples/python/requirements.txt")?),
            Language::Node => {
                let installed = packages::node("docs/samples/node")?;
                prepare_node(folder, &installed);
                None
            }
            Language::Rust => {
                if !examples_are_built() {
                    packages::skip("the samples in Rust are not built: run `cargo build --examples`");
                    return None;
                }
                None
            }
            Language::Curl => {
                for program in ["curl", "jq", "sqlite3"] {
                    if Command::new(program).arg("--version").output().is_err() {
                        packages::skip(&format!("there is no {program} on the PATH"));
                        return None;
                    }
                }
                None
            }
        };
        let env = env
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Some(Self {
            language,
            folder: folder.to_owned(),
            packages,
            env: env.collect(),
        })
    }

    /// With one more environment variable.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    fn command(&self, sample: &str) -> Command {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples");
        let mut command = match self.language {
            Language::Python => {
                let mut command = Command::new("python3");
                command.arg(sources.join("python").join(sample).with_extension("py"));
                command
            }
            Language::Node => {
                let mut command = Command::new("node");
                command.arg(self.folder.join(sample).with_extension("js"));
                command
            }
            Language::Rust => Command::new(example(sample)),
            Language::Curl => Command::new(sources.join("curl").join(sample).with_extension("sh")),
        };
        command
            .current_dir(&self.folder)
            .envs(self.env.iter().cloned())
            .envs(self.packages.as_ref().map(|packages| ("PYTHONPATH", packages)));
        command
    }

    /// Starts a sample, with this text as its standard input.
    pub fn start(&self, sample: &str, args: &[&str], input: &str) -> Program {
        // A file, so that nobody has to write while the sample reads.
        let stdin = self.folder.join(format!("{sample}.in"));
        fs::write(&stdin, input).expect("a file");
        let (out, err) = (self.log(sample, "out"), self.log(sample, "err"));
        let append = |path: &Path| {
            let file = File::options().create(true).append(true).open(path);
            Stdio::from(file.expect("a file"))
        };
        let child = self
            .command(sample)
            .args(args)
            .stdin(File::open(&stdin).expect("a file"))
            .stdout(append(&out))
            .stderr(append(&err))
            .spawn()
            .unwrap_or_else(|error| panic!("{:?} {sample}: {error}", self.language));
        Program {
            name: format!("{:?} {sample}", self.language),
            child,
            out,
            err,
        }
    }

    fn log(&self, sample: &str, stream: &str) -> PathBuf {
        self.folder.join(format!("{sample}.{stream}"))
    }
}

/// The samples next to their packages, because Node looks for these in the folders above a file.
fn prepare_node(folder: &Path, installed: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples/node");
    for file in ["publisher.js", "subscriber.js", "package.json"] {
        fs::copy(sources.join(file), folder.join(file)).expect("a copy");
    }
    let link = folder.join("node_modules");
    std::os::unix::fs::symlink(installed.join("node_modules"), link).expect("a link");
}

/// Whether the samples in Rust are built, and newer than their source: `cargo test` builds them, `cargo test --test all` does not.
fn examples_are_built() -> bool {
    let modified = |path: PathBuf| fs::metadata(path).and_then(|file| file.modified()).ok();
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/samples/rust");
    ["publisher", "subscriber"].iter().all(|sample| {
        let built = modified(example(sample));
        built.is_some() && built >= modified(sources.join(sample).with_extension("rs"))
    })
}

fn example(sample: &str) -> PathBuf {
    target().join("debug/examples").join(format!("sample-{sample}"))
}

/// The folder `target` of this build.
fn target() -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    // target/debug/deps/all-…
    test.ancestors().nth(3).expect("three folders").to_owned()
}

/// A running sample. Dropping it kills the process.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Program {
    /// What all starts of this sample have printed to standard output.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.out).expect("a file")
    }

    /// What all starts of this sample have printed to standard error.
    pub fn errors(&self) -> String {
        fs::read_to_string(&self.err).expect("a file")
    }

    /// Waits until it is true. The sample must not exit meanwhile.
    pub fn wait_until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let waited = wait_until(LIMIT, || {
            if let Some(status) = self.child.try_wait().expect("the process is ours") {
                panic!(
                    "{}: exited with {status} before: {what}\n{}",
                    self.name,
                    self.errors()
                );
            }
            done(self)
        });
        waited.unwrap_or_else(|()| panic!("{}: timed out: {what}\n{}", self.name, self.errors()));
    }

    /// Sends SIGKILL.
    pub fn kill(mut self) {
        self.child.kill().expect("the process is ours");
        self.child.wait().expect("the process ends");
    }

    /// Waits until it exits.
    pub fn end(&mut self) -> ExitStatus {
        let mut status = None;
        let ended = wait_until(LIMIT, || {
            status = self.child.try_wait().expect("the process is ours");
            status.is_some()
        });
        ended.unwrap_or_else(|()| panic!("{} does not end: {}", self.name, self.errors()));
        status.expect("a status")
    }

    /// Waits until it exits with success.
    pub fn succeed(&mut self) {
        let status = self.end();
        assert!(status.success(), "{}: {status}: {}", self.name, self.errors());
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
