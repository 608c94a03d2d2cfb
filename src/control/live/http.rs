//! `/v1/live`: takes a stream in, and says what has become of it.
use super::{Begun, Wish};
use crate::audio::Pcm;
use crate::broadcast::{Priority, Purpose};
use crate::control::answer::{done, refuse};
use crate::control::api::{self, Api, Shared};
use crate::control::broadcasts;
use crate::control::forms::{self, Level};
use crate::control::reach;
use crate::control::text::{Failure, Language, say};
use crate::io::decoder::Form;
use crate::io::{clock, identity};
use crate::time::{Civil, SECOND};
use axum::Extension;
use axum::body::{Body, HttpBody};
use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use std::pin::pin;
use std::time::Duration;
use tracing::Instrument;
use uuid::Uuid;

/// The stream of one live source, to its end. Refused before the body is read, if it can't be aired.
pub async fn post(State(api): Shared, Extension(language): Extension<Language>, uri: Uri, body: Body) -> Response {
    let mut wish = match wish(&uri, &api.live.bitrates()) {
        Ok(wish) => wish,
        Err(failure) => return refuse(&failure, language),
    };
    if wish.title.is_empty() {
        wish.title = say(language, "live.title", []);
    }
    let work = async {
        let begun = match admit(&api, &wish).await {
            Ok(()) => api.live.begin(wish.clone()),
            Err(failure) => Err(failure),
        };
        let begun = begun.inspect_err(|failure| api.live.refused(wish.clone(), failure))?;
        let source = begun.source.clone();
        let span = tracing::info_span!("broadcast.live", priority = ?wish.priority);
        stream(begun, body).instrument(span).await;
        match source.failure() {
            Some(failure) => Err(failure),
            None => Ok(source.form(api.zone, language)),
        }
    };
    done(work.await, language)
}

pub async fn list(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    let live = api.live.all().iter().map(|source| source.form(api.zone, language)).collect();
    done(Ok(forms::AllLive { live }), language)
}

pub async fn one(State(api): Shared, Extension(language): Extension<Language>, Path(id): Path<String>) -> Response {
    let found = id.parse().ok().and_then(|id| api.live.get(id));
    let Some(source) = found else { return refuse(&Failure::new("live.unknown", [&format!("{id:?}")]), language) };
    let mut form = source.form(api.zone, language);
    let now = api.handle.snapshot().civil;
    if let (Some(aired), Some(now)) = (&mut form.broadcast, now)
        && now - Civil(aired.accepted_us) < WARNED
    {
        let (areas, priority) = (source.wish.areas.clone(), source.wish.priority);
        aired.warnings = broadcasts::warnings(&api, aired.id, areas, priority, Civil(aired.sounds_us), language).await;
    }
    done(Ok(form), language)
}

/// What a query asks for; `bitrates` are those that it would be aired in.
pub fn wish(uri: &Uri, bitrates: &[u32]) -> Result<Wish, Failure> {
    let wrong = |what: &dyn std::fmt::Display| Failure::new("request.query", [what]);
    let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
    let mut wish = Wish {
        id: identity::new_id(clock::wall()),
        title: String::new(),
        areas: Vec::new(),
        priority: Priority::Normal,
        purpose: Purpose::Real,
        delay: None,
        form: Form::Container,
        at: None,
        until: None,
    };
    let (mut areas, mut delay) = (Vec::new(), None);
    for (name, value) in pairs.map_err(|error| wrong(&error.body_text()))?.0 {
        let unread = |what: &str| wrong(&format!("{name}={value:?}: {what}"));
        match name.as_str() {
            "id" => wish.id = value.parse().ok().filter(|id: &Uuid| !id.is_nil()).ok_or_else(|| unread("no UUID"))?,
            "areas" => areas.extend(value.split(',').map(str::to_owned)),
            "title" => wish.title = broadcasts::title(&value)?,
            "delay_ms" => delay = Some(value.parse::<i64>().map_err(|_| unread("no number of milliseconds"))?),
            "pcm" => {
                let pcm: Pcm =
                    value.parse().map_err(|error: crate::audio::Error| Failure::from_room(error.code, error.text))?;
                wish.form = Form::Pcm(pcm);
            }
            "priority" => {
                let level = serde_json::from_value::<Level>(serde_json::Value::String(value.clone()));
                wish.priority = level.map_err(|_| unread("give normal, priority or emergency"))?.into();
            }
            "purpose" => {
                let purpose = serde_json::from_value::<forms::Purpose>(serde_json::Value::String(value.clone()));
                wish.purpose = purpose.map_err(|_| unread("give real, exercise or test"))?.into();
            }
            _ => return Err(wrong(&format!("{name:?} is none of {NAMES}"))),
        }
    }
    wish.areas = api::areas(&areas)?;
    wish.delay = delay.map(|delay| broadcasts::check_delay(delay, bitrates, wish.priority)).transpose()?;
    Ok(wish)
}

async fn admit(api: &Api, wish: &Wish) -> Result<(), Failure> {
    if !api.speaks {
        return Err(Failure::new("authority.none", []));
    }
    if api.handle.phase().is_none() {
        return Err(Failure::new("time.unknown", []));
    }
    reach::check(&wish.areas, &api::known(api).await?, wish.priority == Priority::Emergency)
}

/// Reads the body as fast as it is taken, until it ends, breaks off or stalls, or until nobody wants it.
async fn stream(begun: Begun, body: Body) {
    let Begun { feed, source, mut ended } = begun;
    let mut body = pin!(body);
    let mut bytes = 0;
    loop {
        let next = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
        let frame = tokio::select! {
            _ = &mut ended => return,
            frame = tokio::time::timeout(STALLED, next) => frame,
        };
        let piece = match frame {
            Err(_) => {
                source.break_off(Failure::new("live.stalled", [&STALLED.as_secs()]));
                break;
            }
            Ok(None) => break,
            Ok(Some(Err(error))) => {
                source.break_off(Failure::new("request.cut", [&bytes, &error]));
                break;
            }
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) => piece,
                // Trailers.
                Err(_) => continue,
            },
        };
        bytes += piece.len();
        source.received(piece.len());
        tokio::select! {
            _ = &mut ended => return,
            sent = feed.send(piece) => if sent.is_err() { break },
        }
    }
    drop(feed);
    let _ = ended.await;
}

const NAMES: &str = "id, areas, priority, purpose, title, delay_ms, pcm";
/// Who will not hear it is looked up for so long after its beginning, µs: it takes a look at every node.
const WARNED: i64 = 10 * SECOND;
/// A source that sends nothing for so long has gone, whatever its connection says.
const STALLED: Duration = Duration::from_secs(60);
