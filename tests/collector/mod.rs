//! An OpenTelemetry collector of the test's own: takes OTLP over HTTP, or is away, or answers nothing; and OTLP's
//! messages, as much of them as is looked at (opentelemetry-proto 1.x, `trace.proto`, `logs.proto`).

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prost::Message;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

pub struct Collector {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    Takes,
    /// Not now.
    Away,
    /// Reads, and answers nothing.
    Silent,
}

struct Shared {
    mood: Mutex<Mood>,
    asked: Mutex<usize>,
    taken: Mutex<Vec<Taken>>,
}

/// A batch.
#[derive(Clone)]
pub struct Taken {
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Collector {
    pub fn start(mood: Mood) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let shared = Arc::new(Shared { mood: Mutex::new(mood), asked: Mutex::default(), taken: Mutex::default() });
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, _runtime: runtime }
    }

    pub fn becomes(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// How many requests there were, whatever became of them.
    pub fn asked(&self) -> usize {
        *self.shared.asked.lock().unwrap()
    }

    pub fn taken(&self) -> Vec<Taken> {
        self.shared.taken.lock().unwrap().clone()
    }

    /// Every span, with who said it.
    pub fn spans(&self) -> Vec<(Attributes, Span)> {
        let all = self.taken().into_iter().filter(|one| one.path == "/v1/traces");
        let all = all.flat_map(|one| Traces::decode(one.body).expect("spans").resources);
        all.flat_map(|from| {
            let who = attributes(&from.resource.unwrap_or_default().attributes);
            from.scopes.into_iter().flat_map(|scope| scope.spans).map(move |span| (who.clone(), span))
        })
        .collect()
    }

    /// Every log record, with who said it.
    pub fn records(&self) -> Vec<(Attributes, Record)> {
        let all = self.taken().into_iter().filter(|one| one.path == "/v1/logs");
        let all = all.flat_map(|one| Logs::decode(one.body).expect("log records").resources);
        all.flat_map(|from| {
            let who = attributes(&from.resource.unwrap_or_default().attributes);
            from.scopes.into_iter().flat_map(|scope| scope.records).map(move |record| (who.clone(), record))
        })
        .collect()
    }

    pub fn has_span(&self, name: &str) -> bool {
        self.spans().iter().any(|(_, span)| span.name == name)
    }

    pub fn has_record(&self, text: &str) -> bool {
        self.records().iter().any(|(_, record)| record.text().contains(text))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, asked: Request) -> Response {
    let (head, body) = asked.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap();
    *shared.asked.lock().unwrap() += 1;
    let mood = *shared.mood.lock().unwrap();
    match mood {
        Mood::Away => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        Mood::Silent => std::future::pending().await,
        Mood::Takes => {
            let taken = Taken { path: head.uri.path().to_owned(), headers: head.headers, body };
            shared.taken.lock().unwrap().push(taken);
            ([(header::CONTENT_TYPE, "application/x-protobuf")], Body::empty()).into_response()
        }
    }
}

pub type Attributes = BTreeMap<String, String>;

pub fn attributes(all: &[KeyValue]) -> Attributes {
    all.iter().map(|one| (one.key.clone(), one.value.as_ref().map(Value::text).unwrap_or_default())).collect()
}

#[derive(Clone, PartialEq, Message)]
struct Traces {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeSpans>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeSpans {
    #[prost(message, repeated, tag = "2")]
    spans: Vec<Span>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub name: String,
    /// 2: a server's.
    #[prost(int32, tag = "6")]
    pub kind: i32,
    #[prost(fixed64, tag = "7")]
    pub start: u64,
    #[prost(fixed64, tag = "8")]
    pub end: u64,
    #[prost(message, repeated, tag = "9")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Logs {
    #[prost(message, repeated, tag = "1")]
    resources: Vec<ResourceLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ResourceLogs {
    #[prost(message, optional, tag = "1")]
    resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    scopes: Vec<ScopeLogs>,
}

#[derive(Clone, PartialEq, Message)]
struct ScopeLogs {
    #[prost(message, repeated, tag = "2")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(string, tag = "3")]
    pub severity: String,
    #[prost(message, optional, tag = "5")]
    pub body: Option<Value>,
    #[prost(message, repeated, tag = "6")]
    pub attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Resource {
    #[prost(message, repeated, tag = "1")]
    attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub struct KeyValue {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(message, optional, tag = "2")]
    pub value: Option<Value>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Value {
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4")]
    pub kind: Option<Kind>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Kind {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(bool, tag = "2")]
    Truth(bool),
    #[prost(int64, tag = "3")]
    Whole(i64),
    #[prost(double, tag = "4")]
    Number(f64),
}

impl Value {
    pub fn text(&self) -> String {
        match &self.kind {
            Some(Kind::Text(text)) => text.clone(),
            Some(Kind::Truth(truth)) => truth.to_string(),
            Some(Kind::Whole(whole)) => whole.to_string(),
            Some(Kind::Number(number)) => number.to_string(),
            None => String::new(),
        }
    }
}

impl Record {
    pub fn text(&self) -> String {
        self.body.as_ref().map(Value::text).unwrap_or_default()
    }
}
