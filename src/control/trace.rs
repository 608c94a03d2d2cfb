//! Spans of what people and programs ask for, for whoever follows it through a collector (OpenTelemetry's semantic
//! conventions for HTTP servers). Of a request its route and nothing that it brings: no path, query, name or token.
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument, Span};

/// A span around everything that is done for a request.
pub async fn request(asked: Request, next: Next) -> Response {
    let route = asked.extensions().get::<MatchedPath>().cloned();
    let (method, route) = (method(asked.method()), route.as_ref().map_or(NOWHERE, MatchedPath::as_str));
    let span = tracing::info_span!(
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        "error.type" = Empty,
    );
    let response = next.run(asked).instrument(span.clone()).await;
    let status = response.status();
    span.record("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// The code of a refusal, to the request's span.
pub fn refused(code: &str) {
    Span::current().record("error.type", code);
}

/// A method may be any word.
fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// Of what has no route.
const NOWHERE: &str = "nowhere";
