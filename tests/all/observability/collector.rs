//! A receiver for OTLP over HTTP with protobuf, as a collector is.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

/// What a collector has received.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub spans: Vec<Span>,
    /// The attributes of the resources.
    pub resource: Vec<KeyValue>,
    /// The path and the headers of the last request.
    pub path: String,
    pub headers: HeaderMap,
}

/// A collector. Dropping it closes its port.
pub struct Collector {
    received: Arc<Mutex<Received>>,
    pub port: u16,
    _runtime: Runtime,
}

impl Collector {
    /// On a free port.
    pub fn start() -> Self {
        Self::at(0)
    }

    pub fn at(port: u16) -> Self {
        let runtime = Runtime::new().expect("threads");
        let received = Arc::new(Mutex::new(Received::default()));
        let listener = runtime
            .block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))
            .expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new().fallback(post(receive)).with_state(received.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self {
            received,
            port,
            _runtime: runtime,
        }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn received(&self) -> Received {
        self.received.lock().expect("no panic").clone()
    }

    /// The spans of this name.
    pub fn spans(&self, name: &str) -> Vec<Span> {
        let received = self.received();
        received
            .spans
            .into_iter()
            .filter(|span| span.name == name)
            .collect()
    }
}

async fn receive(
    State(received): State<Arc<Mutex<Received>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, Vec<u8>) {
    let is_protobuf = headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|content_type| content_type == "application/x-protobuf");
    let Ok(request) = ExportTraceServiceRequest::decode(body) else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    if !is_protobuf {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Vec::new());
    }
    let mut received = received.lock().expect("no panic");
    uri.path().clone_into(&mut received.path);
    received.headers = headers;
    for of_resource in request.resource_spans {
        received.resource.extend(
            of_resource
                .resource
                .into_iter()
                .flat_map(|resource| resource.attributes),
        );
        let spans = of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans);
        received.spans.extend(spans);
    }
    (
        StatusCode::OK,
        ExportTraceServiceResponse::default().encode_to_vec(),
    )
}

/// The value of an attribute as text.
pub fn attribute(attributes: &[KeyValue], name: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == name)?;
    match attribute.value.clone()? {
        AnyValue {
            value: Some(Value::StringValue(text)),
            ..
        } => Some(text),
        AnyValue {
            value: Some(Value::IntValue(number)),
            ..
        } => Some(number.to_string()),
        other => panic!("{name}: {other:?}"),
    }
}
