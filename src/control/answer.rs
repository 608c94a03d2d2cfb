//! Reading a request's parts and writing its answer, whatever it asks.
use super::forms::Fault;
use super::text::{Failure, Language};
use super::trace;
use axum::Json;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// A bounded JSON body.
pub async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Failure> {
    if body.size_hint().lower() > LONGEST_FORM as u64 {
        return Err(Failure::new("request.too_long", [&LONGEST_FORM]));
    }
    let bytes: Bytes = match tokio::time::timeout(STALLED, axum::body::to_bytes(body, LONGEST_FORM)).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(Failure::new("request.too_long", [&LONGEST_FORM])),
        Err(_) => return Err(Failure::new("request.cut", [&0, &"nothing more came"])),
    };
    serde_json::from_slice(&bytes).map_err(|error| Failure::new("request.json", [&error]))
}

/// One value of the query; any other name in it is refused, so that a misspelt one is noticed.
pub fn query(uri: &Uri, name: &str) -> Result<Option<String>, Failure> {
    let wrong = |what: &dyn std::fmt::Display| Failure::new("request.query", [what]);
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let pairs = pairs.map_err(|error| wrong(&error.body_text()))?.0;
    if let Some((other, _)) = pairs.iter().find(|(key, _)| key != name) {
        return Err(wrong(&format!("{other:?} is not known here, {name:?} is")));
    }
    Ok(pairs.into_iter().next().map(|(_, value)| value))
}

/// 201 with what was made, or the refusal.
pub fn created<T: Serialize>(result: Result<T, Failure>, language: Language) -> Response {
    answer(StatusCode::CREATED, result, language)
}

/// 200 with what was asked for, or the refusal.
pub fn done<T: Serialize>(result: Result<T, Failure>, language: Language) -> Response {
    answer(StatusCode::OK, result, language)
}

fn answer<T: Serialize>(status: StatusCode, result: Result<T, Failure>, language: Language) -> Response {
    match result {
        Ok(value) => (status, Json(value)).into_response(),
        Err(failure) => refuse(&failure, language),
    }
}

pub fn refuse(failure: &Failure, language: Language) -> Response {
    trace::refused(&failure.code);
    tracing::info!(code = failure.code, "refused: {failure}");
    let status = StatusCode::from_u16(failure.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fault = Fault { code: failure.code.clone(), text: failure.text(language) };
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_LANGUAGE, header::HeaderValue::from_static(language.tag()));
    (status, headers, Json(fault)).into_response()
}

/// Whoever sends no byte for so long has gone.
pub const STALLED: Duration = Duration::from_secs(30);
/// Bytes of a JSON body: 64 areas and a title fill a tenth.
const LONGEST_FORM: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_the_one_name_that_is_known() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        assert_eq!(query(&uri("/v1/media?name=b%E1%BA%A3n+tin.wav"), "name").unwrap().unwrap(), "bản tin.wav");
        assert_eq!(query(&uri("/v1/media"), "name"), Ok(None));
        assert_eq!(query(&uri("/v1/media?nmae=a"), "name").unwrap_err().code, "request.query");
    }
}
