//! Asks a running worker on this machine over HTTP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, to_bytes};
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::config::{HttpSettings, Partners, Scope};

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

/// A worker that listens where the settings say.
#[derive(Debug)]
pub struct Worker {
    /// The address at which this machine reaches it.
    pub address: SocketAddr,
    /// A token for queries about all partners. None: the settings have none.
    token: Option<String>,
}

impl Worker {
    /// None: the worker does not listen.
    pub fn of(settings: &HttpSettings) -> Option<Self> {
        let may_read = settings
            .tokens
            .iter()
            .find(|token| token.scopes.contains(Scope::Read) && token.partners == Partners::All);
        Some(Self {
            address: reachable(settings.listen?),
            token: may_read.map(|token| token.secret.reveal().to_owned()),
        })
    }

    /// The status and the answer, which is JSON.
    pub async fn get(&self, path: &str, within: Duration) -> anyhow::Result<(StatusCode, Value)> {
        let address = self.address;
        tokio::time::timeout(within, self.ask(path))
            .await
            .with_context(|| {
                format!(
                    "the worker at {address} did not answer within {} s",
                    within.as_secs()
                )
            })?
            .with_context(|| {
                format!("cannot ask the worker at {address}; check that it runs, and that http.listen is its address")
            })
    }

    async fn ask(&self, path: &str) -> anyhow::Result<(StatusCode, Value)> {
        let stream = TcpStream::connect(self.address).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let driver = tokio::spawn(connection);
        let mut request = Request::get(path).header(HOST, self.address.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let (head, body) = sender
            .send_request(request.body(Body::empty())?)
            .await?
            .into_parts();
        let answer = to_bytes(Body::new(body), MAX_ANSWER).await?;
        driver.abort();
        Ok((head.status, serde_json::from_slice(&answer)?))
    }
}

/// The address at which this machine reaches a worker that listens on `listen`.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
