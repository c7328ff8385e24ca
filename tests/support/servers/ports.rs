//! Free ports that stay free until the server is started.

use std::net::{Ipv4Addr, TcpListener};

/// Some ports of 127.0.0.1, held by listening on them, so that nobody who runs beside us is given the same.
pub struct Ports {
    held: Vec<TcpListener>,
}

impl Ports {
    /// Takes `count` ports *below* the kernel's ephemeral range, at random.
    ///
    /// Asking the kernel for "any port" (0) would give one inside that range, where every outgoing connection on the
    /// machine takes its own from. A server that is down while a test restarts it could then find its port taken;
    /// worse, a client that keeps trying to reconnect to it would sooner or later be given that very port as its own
    /// end and connect to itself.
    pub fn hold(count: usize) -> Self {
        let first_ephemeral = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
            .ok()
            .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
            .unwrap_or(32_768);
        // A machine whose ephemeral range begins low leaves no room beneath it: then above 10,000 all the same.
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

    /// Lets go of the ports, for the server to take; to be called right before it is started.
    pub fn release<const N: usize>(self) -> [u16; N] {
        let numbers: Vec<u16> = self
            .held
            .iter()
            .filter_map(|listener| Some(listener.local_addr().ok()?.port()))
            .collect();
        numbers.try_into().expect("as many as were held")
    }
}
