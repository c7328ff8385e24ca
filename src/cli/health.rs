//! `tenure health`: asks a running worker on this machine whether it is ready, for container health checks and scripts.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::{Body, to_bytes};
use hyper::header::HOST;
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::context::{Context, UsageError};
use super::output;

/// A worker gives each of its checks less time than this.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum size of an answer, in bytes.
const MAX_ANSWER: usize = 1024 * 1024;

#[derive(Debug, clap::Args)]
pub struct HealthArgs {
    /// Ask only whether the process is alive, not whether it is ready
    #[arg(long)]
    live: bool,
}

pub async fn run(context: &Context, args: HealthArgs) -> anyhow::Result<ExitCode> {
    let Some(listen) = context.settings.http.listen else {
        return Err(
            UsageError("http.listen is empty; set it to the address of the worker to ask".into()).into(),
        );
    };
    let path = if args.live { "/livez" } else { "/readyz" };
    let address = reachable(listen);
    let (status, answer) = tokio::time::timeout(TIMEOUT, ask(address, path))
        .await
        .with_context(|| {
            format!(
                "the worker at {address} did not answer within {} s",
                TIMEOUT.as_secs()
            )
        })?
        .with_context(|| format!("cannot ask the worker at {address}; check that it runs and http.listen"))?;
    if context.is_json() {
        output::json(&answer)?;
    } else {
        output::line(if status.is_success() {
            "healthy"
        } else {
            "unhealthy"
        });
        for (name, check) in answer["checks"].as_object().into_iter().flatten() {
            if check["ok"] == false {
                output::error_line(format!(
                    "{name}: {}",
                    check["detail"].as_str().unwrap_or("failing")
                ));
            }
        }
    }
    Ok(if status.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
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

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<(StatusCode, Value)> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let driver = tokio::spawn(connection);
    let request = Request::get(path)
        .header(HOST, address.to_string())
        .body(Body::empty())?;
    let (head, body) = sender.send_request(request).await?.into_parts();
    let answer = to_bytes(Body::new(body), MAX_ANSWER).await?;
    driver.abort();
    Ok((head.status, serde_json::from_slice(&answer)?))
}
