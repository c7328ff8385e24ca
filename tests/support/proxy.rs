//! A TCP proxy between the worker and a server, for what networks do: connections are cut or reset in mid-sentence,
//! stand still, or go dead without a word.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::servers::free_port;

/// How connections end that are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Both sides are told that nothing more comes.
    Close,
    /// Both sides are told that there is no such connection.
    Reset,
    /// Nobody is told: it stays open, and nothing comes through it any more, as when a host vanishes.
    Silence,
}

/// What the server is made to say that no client understands.
const GARBAGE: [u8; 8] = [0xff; 8];

#[derive(Clone, Copy)]
struct Weather {
    stalled: bool,
    /// Behind what the server says with these bytes in it comes garbage.
    garbled: Option<&'static [u8]>,
    /// Connections that began in an earlier one are cut.
    age: u64,
    cut: Cut,
}

/// Listens on a port of its own, and carries what comes to the server and back.
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    weather: watch::Sender<Weather>,
    /// So many have come so far.
    connections: Arc<AtomicUsize>,
    _runtime: Runtime,
}

impl Proxy {
    /// In front of a server on 127.0.0.1, which need not be there yet.
    pub fn to(server: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let port = free_port();
        let (weather, watched) = watch::channel(Weather {
            stalled: false,
            garbled: None,
            age: 0,
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
            weather,
            connections,
            _runtime: runtime,
        }
    }

    /// The same URL, by way of the proxy.
    pub fn url(&self, url: &str) -> String {
        let (server, port) = (
            format!(":{}/", self.server.load(Ordering::SeqCst)),
            format!(":{}/", self.port),
        );
        assert!(url.contains(&server), "{url} does not lead to port {server}");
        url.replace(&server, &port)
    }

    /// How many connections there have been.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Connections from now on lead to another server; those that there are stay.
    pub fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// Ends every connection that there is; new ones work.
    pub fn cut(&self, cut: Cut) {
        self.weather.send_modify(|weather| {
            weather.age += 1;
            weather.cut = cut;
        });
    }

    /// Follows what the server says with garbage, wherever these bytes are in it; None: no longer.
    pub fn garble(&self, behind: Option<&'static [u8]>) {
        self.weather.send_modify(|weather| weather.garbled = behind);
    }

    /// From now on nothing comes through, either way, and nobody is told.
    pub fn stall(&self) {
        self.weather.send_modify(|weather| weather.stalled = true);
    }

    /// What was held back comes through, and all that follows.
    pub fn flow(&self) {
        self.weather.send_modify(|weather| weather.stalled = false);
    }
}

async fn accept(
    listener: TcpListener,
    server: Arc<AtomicU16>,
    weather: watch::Receiver<Weather>,
    connections: Arc<AtomicUsize>,
) {
    loop {
        if let Ok((client, _)) = listener.accept().await {
            connections.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(carry(client, server.load(Ordering::SeqCst), weather.clone()));
        } else {
            // Out of file handles, for a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

async fn carry(mut client: TcpStream, server: u16, weather: watch::Receiver<Weather>) {
    let born = weather.borrow().age;
    let Ok(mut server) = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, server))).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let mut watched = weather.clone();
    let cut = {
        let ((from_client, to_client), (from_server, to_server)) = (client.split(), server.split());
        tokio::select! {
            () = pump(from_client, to_server, weather.clone(), false) => None,
            () = pump(from_server, to_client, weather, true) => None,
            changed = watched.wait_for(|weather| weather.age != born) => changed.ok().map(|weather| weather.cut),
        }
    };
    match cut {
        Some(Cut::Reset) => {
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
        // Until the proxy ends: whoever hangs up here is not heard on the other side either.
        Some(Cut::Silence) => std::future::pending().await,
        Some(Cut::Close) | None => {}
    }
}

async fn pump(
    mut from: impl AsyncReadExt + Unpin,
    mut to: impl AsyncWriteExt + Unpin,
    mut weather: watch::Receiver<Weather>,
    is_server: bool,
) {
    let mut bytes = vec![0; 16 << 10];
    loop {
        let Ok(read @ 1..) = from.read(&mut bytes).await else {
            return;
        };
        // What is under way when the stall begins is held back, too.
        if weather.wait_for(|weather| !weather.stalled).await.is_err() {
            return;
        }
        let garbled = weather.borrow().garbled.filter(|_| is_server);
        let is_garbled =
            garbled.is_some_and(|behind| bytes[..read].windows(behind.len()).any(|window| window == behind));
        let mut said = bytes[..read].to_vec();
        if is_garbled {
            said.extend(GARBAGE);
        }
        if to.write_all(&said).await.is_err() {
            return;
        }
    }
}
