//! Sends spans to an OTLP endpoint over HTTP. Whatever the endpoint does, whoever makes a span does not wait: the queue is bounded,
//! and what does not fit is dropped and counted.

use std::time::{Duration, Instant, SystemTime};
use std::vec;

use async_trait::async_trait;
use opentelemetry::Context;
use opentelemetry::trace::Span as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{
    ExporterBuildError, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanExporter as _, SpanProcessor};
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::backoff::Backoff;
use crate::config::TelemetrySettings;

/// How many spans may wait.
const QUEUE: usize = 8_192;
/// How many spans are sent at once.
const BATCH: usize = 512;
/// The spans of a larger batch of messages end as there is room in the queue.
const LARGE: usize = QUEUE / 2;
/// How many large batches may wait for that.
const LARGE_BATCHES: usize = 2;
/// How long a span may wait for others.
const DELAY: Duration = Duration::from_secs(1);
/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often a batch is sent before it is dropped.
const ATTEMPTS: u32 = 5;
/// How long the last spans may take at the end of the worker.
const FLUSH: Duration = Duration::from_secs(3);

/// Spans by what became of them.
const SPANS: &str = "tenure_trace_spans_total";

/// Why there is no exporter.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("the HTTP client for traces cannot be created: {0}")]
    Client(#[source] reqwest::Error),
    #[error("the header {0} of `telemetry.otlp_headers` cannot be sent; correct its name and value")]
    Header(String),
    #[error("traces cannot be exported: {0}; correct [telemetry] or the OTEL_EXPORTER_OTLP_ variables")]
    Exporter(#[from] ExporterBuildError),
}

/// Declares the counters of spans.
pub fn declare_counters() {
    for outcome in ["exported", "failed", "dropped"] {
        metrics::counter!(SPANS, "outcome" => outcome).increment(0);
    }
}

fn count(outcome: &'static str, spans: usize) {
    metrics::counter!(SPANS, "outcome" => outcome).increment(spans as u64);
}

/// Takes spans that have ended.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            count("dropped", 1);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Takes the spans of large batches of messages. They are in memory already, and the queue has no room for all of them at once.
#[derive(Debug)]
pub(super) struct LargeBatches(mpsc::Sender<LargeBatch>);

#[derive(Debug)]
struct LargeBatch {
    spans: Vec<Span>,
    ended_at: SystemTime,
}

impl LargeBatches {
    /// Ends the spans of a batch of messages. Those of a large one are dropped and counted if other large ones wait, as far as they do
    /// not fit the queue.
    pub fn end(&self, mut spans: Vec<Span>) {
        spans.retain(Span::is_recording);
        if spans.len() > LARGE {
            #[expect(
                clippy::disallowed_methods,
                reason = "the library begins spans with this clock, and ends those of other batches with it"
            )]
            let ended_at = SystemTime::now();
            // A batch that is not accepted is dropped, which ends its spans.
            let _ = self.0.try_send(LargeBatch { spans, ended_at });
        }
    }
}

/// Sends the spans of the queue.
pub struct Export {
    spans: mpsc::Receiver<SpanData>,
    large: mpsc::Receiver<LargeBatch>,
    /// The rest of a large batch, and when it ended.
    rest: vec::IntoIter<Span>,
    rest_ended_at: SystemTime,
    exporter: SpanExporter,
    endpoint: String,
    /// A batch that was being sent at the stop request.
    left: Vec<SpanData>,
    /// Since when no request succeeds.
    failing_since: Option<Instant>,
}

/// Sends exactly the headers of the settings. The exporter adds those of the variables of OpenTelemetry, which settings may override.
#[derive(Debug)]
struct Client {
    inner: reqwest::Client,
    headers: HeaderMap,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut parts, body) = request.into_parts();
        let mut headers = self.headers.clone();
        headers.extend(
            parts
                .headers
                .remove(CONTENT_TYPE)
                .map(|value| (CONTENT_TYPE, value)),
        );
        parts.headers = headers;
        self.inner.send_bytes(Request::from_parts(parts, body)).await
    }
}

fn headers(settings: &TelemetrySettings) -> Result<HeaderMap, ExportError> {
    let parsed = settings.headers.iter().map(|(name, value)| {
        let invalid = || ExportError::Header(name.clone());
        let mut secret = HeaderValue::from_str(value.reveal()).map_err(|_| invalid())?;
        secret.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        Ok((name, secret))
    });
    parsed.collect()
}

pub(super) fn open(
    url: &Url,
    settings: &TelemetrySettings,
    resource: &Resource,
) -> Result<(Queue, LargeBatches, Export), ExportError> {
    // reqwest uses the default of the process. Another part may have set the same one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let inner = reqwest::Client::builder()
        .user_agent(concat!("Tenure/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .timeout(TIMEOUT)
        .build()
        .map_err(ExportError::Client)?;
    let client = Client {
        inner,
        headers: headers(settings)?,
    };
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(url.as_str())
        // Its pauses would block a thread of the runtime.
        .with_retry_policy(RetryPolicy::disabled())
        .with_timeout(TIMEOUT)
        .build()?;
    exporter.set_resource(resource);
    let (queue, spans) = mpsc::channel(QUEUE);
    let (large_batches, large) = mpsc::channel(LARGE_BATCHES);
    let export = Export {
        spans,
        large,
        rest: Vec::new().into_iter(),
        rest_ended_at: SystemTime::UNIX_EPOCH,
        exporter,
        endpoint: url.origin().ascii_serialization(),
        left: Vec::new(),
        failing_since: None,
    };
    Ok((Queue(queue), LargeBatches(large_batches), export))
}

impl Export {
    /// Sends spans until a stop request, and then those that wait, within a few seconds.
    pub async fn run(mut self, stop: CancellationToken) {
        while let Some(batch) = self.next(&stop).await {
            self.send(batch, &stop).await;
        }
        if tokio::time::timeout(FLUSH, self.flush()).await.is_err() {
            tracing::warn!(
                otlp.endpoint = self.endpoint,
                "the last spans are dropped: the endpoint does not answer in time"
            );
        }
        count("dropped", self.spans.len());
    }

    /// The next batch. None: on a stop request.
    async fn next(&mut self, stop: &CancellationToken) -> Option<Vec<SpanData>> {
        let first = stop.run_until_cancelled(self.first()).await??;
        let mut batch = vec![first];
        let fill = async {
            loop {
                let room = BATCH - batch.len();
                if room == 0 || self.spans.recv_many(&mut batch, room).await == 0 {
                    return;
                }
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(DELAY, fill) => {}
            () = stop.cancelled() => {}
        }
        Some(batch)
    }

    /// The next span. None: nobody makes spans any more.
    async fn first(&mut self) -> Option<SpanData> {
        loop {
            self.end_rest();
            tokio::select! {
                span = self.spans.recv() => return span,
                Some(batch) = self.large.recv(), if self.rest.as_slice().is_empty() => self.take(batch),
            }
        }
    }

    fn take(&mut self, batch: LargeBatch) {
        self.rest = batch.spans.into_iter();
        self.rest_ended_at = batch.ended_at;
    }

    /// Ends as many spans of a large batch as are sent at once, if the queue has room for them.
    fn end_rest(&mut self) {
        if self.spans.len() + BATCH <= QUEUE {
            for mut span in self.rest.by_ref().take(BATCH) {
                span.end_with_timestamp(self.rest_ended_at);
            }
        }
    }

    async fn flush(&mut self) {
        // A clone of the tracer may live on: only what is here now is sent.
        loop {
            if self.rest.as_slice().is_empty()
                && let Ok(batch) = self.large.try_recv()
            {
                self.take(batch);
            }
            self.end_rest();
            let mut batch = std::mem::take(&mut self.left);
            while batch.len() < BATCH
                && let Ok(next) = self.spans.try_recv()
            {
                batch.push(next);
            }
            if batch.is_empty() {
                return;
            }
            let spans = batch.len();
            let sent = self.exporter.export(batch).await;
            count(if sent.is_ok() { "exported" } else { "failed" }, spans);
        }
    }

    async fn send(&mut self, batch: Vec<SpanData>, stop: &CancellationToken) {
        let mut backoff = Backoff::default();
        for _ in 0..ATTEMPTS {
            let sent = self.exporter.export(batch.clone());
            let Some(sent) = stop.run_until_cancelled(sent).await else {
                self.left = batch;
                return;
            };
            let Err(error) = sent else {
                self.note_success();
                count("exported", batch.len());
                return;
            };
            self.note_failure(&error);
            if !backoff.wait(stop).await {
                self.left = batch;
                return;
            }
        }
        count("failed", batch.len());
    }

    fn note_success(&mut self) {
        if let Some(since) = self.failing_since.take() {
            tracing::info!(
                otlp.endpoint = self.endpoint,
                otlp.away_seconds = since.elapsed().as_secs(),
                "the endpoint accepts spans again"
            );
        }
    }

    fn note_failure(&mut self, error: &impl std::fmt::Display) {
        if self.failing_since.is_some() {
            tracing::debug!(%error, "the endpoint still accepts no spans");
            return;
        }
        self.failing_since = Some(Instant::now());
        tracing::warn!(
            otlp.endpoint = self.endpoint,
            why = %error,
            "spans cannot be sent; those that do not fit the queue are dropped, and nothing else is affected"
        );
    }
}
