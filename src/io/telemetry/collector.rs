//! One collector as the exporters see it: a request out, an answer back, and what has become of the last one.
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Clones know of each other's answers.
#[derive(Clone, Debug)]
pub struct Collector {
    http: reqwest::Client,
    last: Arc<Mutex<Option<Answer>>>,
}

/// Of the last request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Taken,
    /// It will not take this at any time (OTLP specification, "Failures"): the HTTP status.
    Refused(u16),
    /// Not now, and why.
    Away(String),
}

impl Collector {
    pub fn new() -> Result<Self, String> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, last: Arc::default() })
    }

    /// What has become of the request before; `None` if there was none.
    pub fn answer(&self) -> Option<Answer> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    async fn post(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut answer = self.http.execute(request.map(reqwest::Body::from).try_into()?).await?;
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if body.len() + piece.len() > LONGEST_ANSWER {
                return Err(format!("its answer is longer than {LONGEST_ANSWER} bytes").into());
            }
            body.extend_from_slice(&piece);
        }
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = answer.status();
        Ok(response)
    }
}

impl HttpClient for Collector {
    // As `async_trait` writes it.
    fn send_bytes<'life, 'a>(
        &'life self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'a>>
    where
        'life: 'a,
        Self: 'a,
    {
        Box::pin(async move {
            let result = self.post(request).await;
            let answer = match &result {
                Ok(response) => Answer::of(response.status().as_u16()),
                Err(error) => Answer::Away(causes(error.as_ref())),
            };
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
            result
        })
    }
}

impl Answer {
    fn of(status: u16) -> Self {
        match status {
            200..=299 => Self::Taken,
            429 | 502..=504 => Self::Away(format!("HTTP status {status}")),
            _ => Self::Refused(status),
        }
    }
}

/// An error with what is behind it: the outermost says only that a request failed.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        cause = error.source();
    }
    text
}

/// Of a collector for one batch: what it can't take in that time it can't take in.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes: an answer to a batch is empty, or a sentence.
const LONGEST_ANSWER: usize = 64 * 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_go_well_later_is_sent_again() {
        assert_eq!(Answer::of(200), Answer::Taken);
        for status in [429, 502, 503, 504] {
            assert!(matches!(Answer::of(status), Answer::Away(_)), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500] {
            assert_eq!(Answer::of(status), Answer::Refused(status));
        }
    }
}
