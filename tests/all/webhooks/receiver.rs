//! A receiver of webhooks that answers as a test says, and remembers what it received.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A request.
#[derive(Clone, Debug)]
pub struct Received {
    pub id: String,
    pub signatures: String,
    pub event: Value,
    /// How it was answered.
    pub status: u16,
}

impl Received {
    pub fn subject(&self) -> &str {
        self.event["subject"].as_str().unwrap_or_default()
    }
}

/// How to answer.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub delay: Duration,
    pub location: Option<String>,
    pub retry_after: Option<u32>,
    /// Whether the body of the response never ends.
    pub is_endless: bool,
}

impl Answer {
    pub fn status(status: u16) -> Self {
        Self {
            status,
            delay: Duration::ZERO,
            location: None,
            retry_after: None,
            is_endless: false,
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

/// Answers to a request and the number of requests with its id before.
type Answers = Box<dyn Fn(&Received, usize) -> Answer + Send>;

#[derive(Clone)]
struct Shared {
    received: Arc<Mutex<Vec<Received>>>,
    answers: Arc<Mutex<Answers>>,
}

/// A receiver on a port of its own, until it is dropped.
pub struct Receiver {
    pub port: u16,
    shared: Shared,
    _runtime: Runtime,
}

impl Receiver {
    /// Answers every request with 204.
    pub fn new() -> Self {
        Self::answering(|_, _| Answer::status(204))
    }

    pub fn answering(answers: impl Fn(&Received, usize) -> Answer + Send + 'static) -> Self {
        let runtime = Runtime::new().expect("threads");
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let shared = Shared {
            received: Arc::default(),
            answers: Arc::new(Mutex::new(Box::new(answers))),
        };
        let state = shared.clone();
        let router = Router::new().fallback(move |headers: HeaderMap, body: Bytes| {
            let state = state.clone();
            async move { state.receive(&headers, &body).await }
        });
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            port,
            shared,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hook", self.port)
    }

    /// Answers in another way from now on.
    pub fn answer(&self, answers: impl Fn(&Received, usize) -> Answer + Send + 'static) {
        *lock(&self.shared.answers) = Box::new(answers);
    }

    /// Everything that was received, in order.
    pub fn received(&self) -> Vec<Received> {
        lock(&self.shared.received).clone()
    }

    /// What was accepted.
    pub fn accepted(&self) -> Vec<Received> {
        let mut received = self.received();
        received.retain(|one| (200..300).contains(&one.status));
        received
    }
}

impl Shared {
    async fn receive(&self, headers: &HeaderMap, body: &[u8]) -> Response {
        let header = |name: &str| {
            let value = headers.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        };
        let mut request = Received {
            id: header("webhook-id"),
            signatures: header("webhook-signature"),
            event: serde_json::from_slice(body).unwrap_or_default(),
            status: 0,
        };
        let answer = {
            let mut received = lock(&self.received);
            let before = received.iter().filter(|one| one.id == request.id).count();
            let answer = lock(&self.answers)(&request, before);
            request.status = answer.status;
            received.push(request);
            answer
        };
        tokio::time::sleep(answer.delay).await;
        let status = StatusCode::from_u16(answer.status).expect("a status");
        let mut response = status.into_response();
        if answer.is_endless {
            let chunks = futures_util::stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from_static(
                &[b'x'; 1_024],
            )));
            *response.body_mut() = Body::from_stream(chunks);
        }
        if let Some(location) = answer.location {
            response
                .headers_mut()
                .insert(header::LOCATION, location.parse().expect("a URL"));
        }
        if let Some(seconds) = answer.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
