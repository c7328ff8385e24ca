//! A wire between a client and a server that can go dead: what it looks like when a host vanishes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Passes on what goes to a port of 127.0.0.1, until the connections are cut off; new ones work again.
pub struct Proxy {
    port: u16,
    /// Connections so far, and how many of the first of them are dead.
    made: Arc<AtomicUsize>,
    dead: Arc<AtomicUsize>,
}

impl Proxy {
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (made, dead) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let proxy = Self { port, made, dead };
        let (made, dead) = (proxy.made.clone(), proxy.dead.clone());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let number = made.fetch_add(1, Ordering::SeqCst);
                let Ok(server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server))) else {
                    continue;
                };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone(), to.try_clone());
                    let dead = dead.clone();
                    std::thread::spawn(move || {
                        pass(from.ok()?, to.ok()?, || number < dead.load(Ordering::SeqCst))
                    });
                }
            }
        });
        proxy
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on nothing goes through the connections that there are, and nobody is told: they stay open.
    pub fn cut_off(&self) -> usize {
        let made = self.made.load(Ordering::SeqCst);
        self.dead.store(made, Ordering::SeqCst);
        made
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, is_dead: impl Fn() -> bool) -> Option<()> {
    let mut buffer = [0; 16 << 10];
    loop {
        let read = from.read(&mut buffer).unwrap_or(0);
        while is_dead() {
            // The thread ends with the process.
            std::thread::park();
        }
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = to.shutdown(std::net::Shutdown::Both);
            return None;
        }
    }
}
