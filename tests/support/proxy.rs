//! A TCP proxy between the worker and a server that simulates network faults: connections that close, reset, stall or go
//! silent.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::servers::free_port;

/// How the proxy ends connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Sends FIN to both sides.
    Close,
    /// Sends RST to both sides.
    Reset,
    /// Sends nothing: the connection stays open and forwards no more data, as if the host had vanished.
    Silence,
}

/// Bytes that no client accepts.
const GARBAGE: [u8; 8] = [0xff; 8];

#[derive(Clone, Copy)]
struct Conditions {
    stalled: bool,
    /// Garbage follows data from the server that contains these bytes.
    garbled: Option<&'static [u8]>,
    /// Connections of earlier generations are cut.
    generation: u64,
    cut: Cut,
}

/// Listens on its own port and forwards data to the server and back.
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    conditions: watch::Sender<Conditions>,
    /// The number of connections so far.
    connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Proxy {
    /// Starts a proxy for a server on 127.0.0.1, which need not run yet.
    pub fn to(server: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let port = free_port();
        let (conditions, watched) = watch::channel(Conditions {
            stalled: false,
            garbled: None,
            generation: 0,
            cut: Cut::Close,
        });
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .expect("a free port");
        let connections = Arc::default();
        let server = Arc::new(AtomicU16::new(server));
        runtime.spawn(accept(
            listener,
            server.clone(),
            watched,
            Arc::clone(&connections),
        ));
        Self {
            port,
            server,
            conditions,
            connections,
            _runtime: runtime,
        }
    }

    /// This URL, with the port of the proxy.
    pub fn url(&self, url: &str) -> String {
        let (server, port) = (
            format!(":{}/", self.server.load(Ordering::SeqCst)),
            format!(":{}/", self.port),
        );
        assert!(url.contains(&server), "{url} does not lead to port {server}");
        url.replace(&server, &port)
    }

    /// The number of connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Forwards new connections to another server. Open connections stay.
    pub fn redirect_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// Ends all open connections. New ones work.
    pub fn cut(&self, cut: Cut) {
        self.conditions.send_modify(|conditions| {
            conditions.generation += 1;
            conditions.cut = cut;
        });
    }

    /// Appends garbage to data from the server that contains these bytes; `None` stops it.
    pub fn garble(&self, behind: Option<&'static [u8]>) {
        self.conditions
            .send_modify(|conditions| conditions.garbled = behind);
    }

    /// Stops forwarding in both directions, with connections open.
    pub fn stall(&self) {
        self.conditions
            .send_modify(|conditions| conditions.stalled = true);
    }

    /// Forwards again, beginning with the data that was held back.
    pub fn flow(&self) {
        self.conditions
            .send_modify(|conditions| conditions.stalled = false);
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<AtomicU16>,
    conditions: watch::Receiver<Conditions>,
    connections: Arc<AtomicUsize>,
) {
    loop {
        if let Ok((client, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(carry(client, server.load(Ordering::SeqCst), conditions.clone()));
        } else {
            // Out of file handles for a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn carry(mut client: TcpStream, server: u16, conditions: watch::Receiver<Conditions>) {
    let born = conditions.borrow().generation;
    let Ok(mut server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server))).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watched = conditions.clone();
    let cut = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            () = pump(from_client, to_server, conditions.clone(), false) => None,
            () = pump(from_server, to_client, conditions, true) => None,
            changed = watched.wait_for(|conditions| conditions.generation != born) => changed.ok().map(|conditions| conditions.cut),
        }
    };
    match cut {
        Some(Cut::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        // Until the proxy ends: when one side hangs up, the other does not notice.
        Some(Cut::Silence) => std::future::pending().await,
        Some(Cut::Close) | None => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut conditions: watch::Receiver<Conditions>,
    is_server: bool,
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        // Data in transit when the stall begins is held back too.
        if conditions
            .wait_for(|conditions| !conditions.stalled)
            .await
            .is_err()
        {
            return;
        }
        let garbled = conditions.borrow().garbled.filter(|_| is_server);
        let is_garbled =
            garbled.is_some_and(|behind| bytes[..read].windows(behind.len()).any(|window| window == behind));
        let mut sent = bytes[..read].to_vec();
        if is_garbled {
            sent.extend(GARBAGE);
        }
        if to.write_all(&sent).await.is_err() {
            return;
        }
    }
}
