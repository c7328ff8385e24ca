//! Starts a cluster of three RabbitMQ nodes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;

/// Three nodes on a busy machine take longer than one.
const PATIENCE: Duration = Duration::from_mins(5);
use super::http::segment;
use super::ports::Ports;
use super::process::{Process, new_folder};
use super::rabbitmq::{Member, RabbitMq, find_script, node};

const NODES: usize = 3;
/// The vhost that every broker has.
pub const VHOST: &str = "/";

/// Three nodes on this machine that form a cluster. Dropping it deletes their data.
pub struct RabbitCluster {
    nodes: Vec<RabbitMq>,
    /// The epmd of all three nodes. It outlives each of them. `None` after the drop.
    epmd: Option<Process>,
    folder: PathBuf,
}

impl RabbitCluster {
    /// Starts the nodes. Returns when they have formed a cluster.
    pub fn start() -> Self {
        let script = find_script().unwrap_or_else(|why| panic!("{why}"));
        let folder = new_folder("rabbitmq-cluster");
        let [epmd, ports @ ..] = Ports::hold(1 + 3 * NODES).release::<{ 1 + 3 * NODES }>();
        let ports: Vec<&[u16]> = ports.chunks(3).collect();
        let first = node(ports[0][0]);
        let nodes: Vec<RabbitMq> = ports
            .iter()
            .map(|ports| {
                let mut peers = vec![first.clone(), node(ports[0])];
                peers.dedup();
                let home = folder.clone();
                RabbitMq::member(
                    script.clone(),
                    [ports[0], ports[1], ports[2], epmd],
                    Member { home, peers },
                )
            })
            .collect();
        let log = folder.join("epmd.log");
        let register: Command = nodes[0].with_environment("epmd".as_ref());
        let epmd = Process::spawn(&folder, "epmd", Signal::SIGKILL, &register, &log).expect("epmd");
        let cluster = Self {
            nodes,
            epmd: Some(epmd),
            folder,
        };
        // The first node forms a cluster of one, which the others join. Its list of peers names no other node, since
        // RabbitMQ 4 would wait for one.
        let (first, others) = cluster.nodes.split_first().expect("nodes");
        first.start();
        std::thread::scope(|scope| {
            for node in others {
                scope.spawn(|| node.start());
            }
        });
        cluster.wait_until("all nodes in one cluster", |first| {
            let nodes = first.manage("GET", "nodes", None);
            let nodes = nodes.as_array().map_or(&[][..], Vec::as_slice);
            nodes.iter().filter(|node| node["running"] == true).count() == NODES
        });
        cluster
    }

    pub fn nodes(&self) -> &[RabbitMq] {
        &self.nodes
    }

    /// The URL of the default vhost, with the hosts of all nodes. (RabbitMQ 3.10 may take too long to create another vhost
    /// on all of them.)
    pub fn url(&self) -> String {
        let url = self.nodes[0].url(VHOST);
        let hosts: Vec<String> = self
            .nodes
            .iter()
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        url.replace(&hosts[0], &hosts.join(","))
    }

    /// Waits until every queue has all of its members: then one node may stop.
    pub fn wait_for_members(&self) {
        let path = format!("queues/{}", segment(VHOST));
        self.wait_until("all members of the queues", |first| {
            let queues = first.manage("GET", &path, None);
            let queues = queues.as_array().map_or(&[][..], Vec::as_slice);
            let online = |queue: &Value| queue["online"].as_array().map_or(0, Vec::len);
            !queues.is_empty() && queues.iter().all(|queue| online(queue) == NODES)
        });
    }

    fn wait_until(&self, what: &str, done: impl Fn(&RabbitMq) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !done(&self.nodes[0]) {
            assert!(Instant::now() < end, "timed out waiting for {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for RabbitCluster {
    fn drop(&mut self) {
        self.nodes.clear();
        if let Some(epmd) = self.epmd.take() {
            epmd.kill();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}
