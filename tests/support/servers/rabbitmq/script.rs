//! Finds the start script of a RabbitMQ server.

use std::path::PathBuf;

use super::super::{search_path, selected, versions};

/// The server's own start script. Debian has a wrapper of the same name on the PATH, which switches to the user
/// `rabbitmq` and then cannot read our folder.
pub fn find_script() -> Result<PathBuf, String> {
    // The wrapper has no `rabbitmq-defaults` next to it.
    let is_script = |script: &PathBuf| script.with_file_name("rabbitmq-defaults").is_file();
    if let Some(script) = selected("TENURE_TEST_RABBITMQ") {
        let name = script.display().to_string();
        return script.canonicalize().ok().filter(is_script).ok_or_else(|| {
            format!("TENURE_TEST_RABBITMQ is {name}, which is no rabbitmq-server with rabbitmq-defaults next to it")
        });
    }
    let parents = ["/usr/lib/rabbitmq/lib", "/opt", "/usr/local"];
    versions(&parents, "rabbitmq_server-")
        .into_iter()
        .map(|version| version.join("sbin"))
        .chain(["/opt/rabbitmq/sbin".into()])
        .chain(search_path())
        // On the PATH it may be a link into the server's folder.
        .filter_map(|folder| folder.join("rabbitmq-server").canonicalize().ok())
        .find(is_script)
        .ok_or_else(|| {
            "no RabbitMQ server: looked for rabbitmq-server in /usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin, \
             /opt/rabbitmq*/sbin, /usr/local/rabbitmq_server-*/sbin and on the PATH. \
             Run tests/run, or install it (Debian: apt-get install rabbitmq-server)."
                .to_owned()
        })
}
