//! Finds a Python with pika, the AMQP client of the README's sample.

use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// The program. `tests/run` looks in the same places.
pub fn with_pika() -> &'static str {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    let has_pika = |python: &&str| {
        let mut command = Command::new(python);
        command
            .args(["-c", "import pika"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    FOUND
        .get_or_init(|| ["/usr/bin/python3", "python3"].into_iter().find(has_pika))
        .expect(
            "no Python with pika: looked for a python3 that can import it, /usr/bin/python3 and the one on the PATH. \
             Run tests/run, or install it (Debian: apt-get install python3-pika; elsewhere: pip install pika).",
        )
}
