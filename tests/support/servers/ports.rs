//! Reserves free ports until a server binds them.

use std::net::{Ipv4Addr, TcpListener};

/// Ports of 127.0.0.1, held by listening on them, so that a concurrent test gets others.
pub struct Ports {
    held: Vec<TcpListener>,
}

impl Ports {
    /// Picks `count` random ports *below* the kernel's ephemeral range.
    ///
    /// Port 0 would select one in that range, from which the kernel also assigns the local ports of outgoing connections. A
    /// server that restarts might then find its port in use. Worse, a client that retries its connection to a stopped
    /// server might get that very port as its local port, and connect to itself.
    pub fn hold(count: usize) -> Self {
        let first_ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
            .unwrap_or(32_768);
        // If the ephemeral range begins low there is no room below it: then use ports above 10,000 anyway.
        let end = first_ephemeral.max(12_000);
        let mut held = Vec::new();
        while held.len() < count {
            let port = rand::random_range(10_000..end);
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
                held.push(listener);
            }
        }
        Self { held }
    }

    /// Releases the ports for the server. Call this right before the server starts.
    pub fn release<const N: usize>(self) -> [u16; N] {
        let numbers: Vec<u16> = self
            .held
            .iter()
            .filter_map(|listener| Some(listener.local_addr().ok()?.port()))
            .collect();
        numbers.try_into().expect("the number of ports held")
    }
}
