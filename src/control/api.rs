//! HTTP/JSON for people and programs (DESIGN §9): reads what is asked, refuses what cannot be, and hands
//! the rest to the trunk.
//!
//! ```text
//! POST   /v1/media?name=FILE          the file itself                → Media
//! GET    /v1/media, /v1/media/{id}
//! POST   /v1/broadcasts               Air                            → Aired
//! GET    /v1/broadcasts                                              → Broadcasts
//! DELETE /v1/broadcasts/{id}, POST /v1/broadcasts/{id}/cancel        → Done
//! POST   /v1/live?areas=A             a stream of sound          → Live, when it has ended
//! GET    /v1/live, /v1/live/{id}
//! GET, PUT /v1/timetable, /v1/policies, /v1/areas; GET /v1/timetable/plan: see timetable::http
//! POST   /v1/stop                     Stop                           → Done
//! GET    /v1/authorities                                             → Authorities
//! POST   /v1/drafts /v1/signatures /v1/locks /v1/preferences /v1/prepared  see [`super::second`]
//! POST   /v1/authorities              Give: a grant, revocation or placement of a root's  → Done
//! GET    /v1/nodes                                                   → Nodes
//! POST   /v1/nodes                    Place                          → Placed
//! DELETE /v1/nodes/{id}                                              → Done
//! GET    /v1/nodes/{id}/settings                                     → Settings
//! POST   /v1/nodes/{id}/settings      Set                            → Settings
//! POST   /v1/tokens                   Token                          → Ticket
//! GET    /v1/receipts?broadcast=&area=&from=&to=&format=csv          → Receipts
//! GET    /v1/as-run?…                                                → AsRunLog
//! GET    /v1/report?…                 lines that `loa verify` checks
//! GET    /v1/events?after=N                                          → Events
//! ```
//! Everything needs `Authorization: Bearer <api.token>`; every failure is `{code, text}`, in Vietnamese or
//! English by `Accept-Language`.
use super::answer::{STALLED, created, done, query, read, refuse};
use super::blocking;
use super::broadcasts;
use super::forms;
use super::live::{self, Sources};
use super::media::{Library, Media, Upload};
use super::places;
use super::reach::{self, Known};
use super::receipts;
use super::second;
use super::settings;
use super::text::{Failure, Language};
use super::timetable::{Desk, http as planned};
use super::token::Token;
use super::trace;
use crate::broadcast::Area;
use crate::io::Handle;
use crate::node::Role;
use crate::node::trunk::{self, Reply, Request};
use crate::time::SECOND;
use axum::Extension;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{OriginalUri, Path, Request as Asked, State};
use axum::http::{HeaderMap, Method, Uri, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{delete, get, post};
use chrono_tz::Tz;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::Semaphore;
use tracing::Instrument;

/// What the handlers share.
pub struct Api {
    pub handle: Handle,
    pub zone: Tz,
    pub token: RwLock<Token>,
    pub library: Arc<Library>,
    /// Whether this node sounds itself.
    pub sounds: bool,
    /// Whether it has an authority to give orders with.
    pub speaks: bool,
    pub events: Arc<Events>,
    pub uploads: Semaphore,
    pub encoders: Arc<Semaphore>,
    pub live: Arc<Sources>,
    pub receipts: receipts::Store,
    /// Of a node that speaks.
    pub desk: Option<Arc<Desk>>,
}

pub(super) type Shared = State<Arc<Api>>;

impl Api {
    /// As it stands: it may be replaced while the node runs.
    fn token(&self) -> Token {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn desk(&self) -> Result<&Arc<Desk>, Failure> {
        self.desk.as_ref().ok_or_else(|| Failure::new("timetable.none", []))
    }
}

pub fn router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/v1/media", post(upload).get(list_media))
        .route("/v1/media/{id}", get(one_media))
        .route("/v1/broadcasts", post(broadcasts::air).get(broadcasts::list))
        .route("/v1/broadcasts/{id}", delete(broadcasts::cancel))
        .route("/v1/broadcasts/{id}/cancel", post(broadcasts::cancel))
        .route("/v1/live", post(live::http::post).get(live::http::list))
        .route("/v1/live/{id}", get(live::http::one))
        .route("/v1/timetable", get(planned::timetable).put(planned::put_timetable))
        .route("/v1/timetable/plan", get(planned::plan))
        .route("/v1/policies", get(planned::policies).put(planned::put_policies))
        .route("/v1/areas", get(planned::areas).put(planned::put_areas))
        .route("/v1/stop", post(stop))
        .route("/v1/authorities", get(authorities).post(give))
        .route("/v1/drafts", post(second::draft))
        .route("/v1/signatures", post(second::sign))
        .route("/v1/locks", post(second::lock))
        .route("/v1/preferences", post(second::prefer))
        .route("/v1/prepared", post(second::prepare))
        .route("/v1/nodes", get(nodes).post(places::place))
        .route("/v1/nodes/{id}", delete(places::expel))
        .route("/v1/nodes/{id}/settings", get(settings::get).post(settings::set))
        .route("/v1/tokens", post(places::token))
        .route("/v1/receipts", get(receipts::list))
        .route("/v1/as-run", get(receipts::as_run))
        .route("/v1/report", get(receipts::bundled))
        .route("/v1/events", get(events))
        .fallback(no_path)
        .method_not_allowed_fallback(no_method)
        .layer(middleware::from_fn_with_state(api.clone(), admit))
        .layer(middleware::from_fn(trace::request))
        .with_state(api)
}

/// The reader's language, and nobody in without the token.
async fn admit(State(api): Shared, mut asked: Asked, next: Next) -> Response {
    let (language, admitted) = (language(asked.headers()), authorize(&api.token(), asked.headers()));
    match admitted {
        Ok(()) => {
            asked.extensions_mut().insert(language);
            next.run(asked).await
        }
        Err(failure) => {
            let mut response = refuse(&failure, language);
            response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
            response
        }
    }
}

fn language(headers: &HeaderMap) -> Language {
    Language::of_header(text(headers, &header::ACCEPT_LANGUAGE).unwrap_or(""))
}

fn authorize(token: &Token, headers: &HeaderMap) -> Result<(), Failure> {
    match text(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' ')) {
        Some((scheme, given)) if scheme.eq_ignore_ascii_case("bearer") => match token.is(given.trim()) {
            true => Ok(()),
            false => Err(Failure::new("auth.wrong", [])),
        },
        _ => Err(Failure::new("auth.missing", [])),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

async fn upload(State(api): Shared, Extension(language): Extension<Language>, uri: Uri, mut body: Body) -> Response {
    let work = async {
        let name = query(&uri, "name")?.unwrap_or_default();
        let _place = api.uploads.try_acquire().map_err(|_| Failure::new("media.busy", [&UPLOADS]))?;
        let mut upload = api.library.begin(&name)?;
        receive(&mut upload, &mut body).instrument(tracing::info_span!("media.receive")).await?;
        // Held while it encodes: others wait their turn, since one encoder fills a core.
        let turn = api.encoders.acquire().instrument(tracing::info_span!("media.turn")).await;
        let _turn = turn.map_err(|_| Failure::new("node.stopping", []))?;
        let library = api.library.clone();
        let span = tracing::info_span!("media.encode", bytes = upload.bytes());
        blocking(move || span.in_scope(|| library.finish(upload))).await
    };
    let done = work.await;
    if let (Ok(_), Some(desk)) = (&done, &api.desk) {
        desk.news();
    }
    if done.is_err() {
        // Whoever still sends reads no answer, and would see a broken pipe in its place.
        let _ = tokio::time::timeout(TAKEN_IN, async { while let Some(Ok(_)) = piece(&mut body).await {} }).await;
    }
    created(done, language)
}

/// The next bytes; none for trailers.
async fn piece(body: &mut Body) -> Option<Result<bytes::Bytes, axum::Error>> {
    let mut body = pin!(body);
    let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context)).await?;
    Some(frame.map(|frame| frame.into_data().unwrap_or_default()))
}

async fn receive(upload: &mut Upload, body: &mut Body) -> Result<(), Failure> {
    loop {
        let data = match tokio::time::timeout(STALLED, piece(body)).await {
            Err(_) => return Err(Failure::new("media.stalled", [&upload.name(), &STALLED.as_secs()])),
            Ok(None) => return Ok(()),
            Ok(Some(Err(error))) => return Err(Failure::new("request.cut", [&upload.bytes(), &error])),
            Ok(Some(Ok(data))) => data,
        };
        // A page-cache write of some KiB: shorter than handing it to another thread.
        upload.write(&data)?;
    }
}

async fn list_media(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    let library = api.library.clone();
    let list = blocking(move || library.list()).await;
    done(list.map(|media| serde_json::json!({ "media": media })), language)
}

async fn one_media(State(api): Shared, Extension(language): Extension<Language>, Path(id): Path<String>) -> Response {
    let library = api.library.clone();
    done(blocking(move || get_media(&library, &id)).await, language)
}

async fn stop(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: forms::Stop = read(body).await?;
        let areas = areas(&form.areas)?;
        if !(0..=LONGEST_STOP).contains(&form.minutes) {
            return Err(Failure::new("stop.minutes", [&form.minutes, &LONGEST_STOP]));
        }
        // A stop reaches whoever may still appear there, as an emergency does.
        reach::check(&areas, &known(&api).await?, true)?;
        ordered(request(&api, Request::Hush { areas, duration: form.minutes * 60 * SECOND }).await)
    };
    done(work.await, language)
}

async fn authorities(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    let work = async {
        match request(&api, Request::Authorities).await {
            Ok(Reply::Authorities(granted, locks)) => {
                let authorities = granted.iter().map(|granted| forms::Authority::new(granted, api.zone)).collect();
                Ok(forms::Authorities { authorities, locks: locks.iter().map(forms::Locked::new).collect() })
            }
            other => Err(unexpected(other)),
        }
    };
    done(work.await, language)
}

async fn give(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: forms::Give = read(body).await?;
        let order = form.read().ok_or_else(|| Failure::new("order.unread", []))?;
        ordered(request(&api, Request::Give(Box::new(order))).await)
    };
    done(work.await, language)
}

async fn nodes(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    let work = async {
        let reports = match request(&api, Request::Nodes).await {
            Ok(Reply::Nodes(reports)) => reports,
            other => return Err(unexpected(other)),
        };
        let nodes: Vec<_> = reports.iter().map(|report| forms::Node::new(report, api.zone)).collect();
        // Its own line was made for this answer; a snapshot may be a second old.
        let own = nodes.iter().find(|node| node.id == api.handle.id());
        let (now, now_us) = own.map_or((None, None), |own| (own.at.clone(), own.at_us));
        Ok(forms::Nodes { zone: api.zone, now, now_us, nodes })
    };
    done(work.await, language)
}

async fn events(State(api): Shared, Extension(language): Extension<Language>, uri: Uri) -> Response {
    let after = query(&uri, "after").and_then(|after| match after {
        None => Ok(0),
        Some(text) => text.parse::<u64>().map_err(|error| {
            Failure::new("request.query", [&format!("after={text:?}: {error}; give the number of an event")])
        }),
    });
    done(after.map(|after| api.events.after(after, api.zone)), language)
}

async fn no_path(Extension(language): Extension<Language>, OriginalUri(uri): OriginalUri) -> Response {
    refuse(&Failure::new("request.path", [&uri.path()]), language)
}

async fn no_method(
    Extension(language): Extension<Language>,
    method: Method,
    OriginalUri(uri): OriginalUri,
) -> Response {
    refuse(&Failure::new("request.method", [&method, &uri.path()]), language)
}

/// The newest events of a node.
#[derive(Default)]
pub struct Events {
    kept: Mutex<VecDeque<trunk::Event>>,
}

impl Events {
    pub fn push(&self, event: trunk::Event) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= EVENTS {
            kept.pop_front();
        }
        kept.push_back(event);
    }

    fn after(&self, after: u64, zone: Tz) -> forms::Events {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let missed = kept.front().map_or(0, |oldest| oldest.number.saturating_sub(after.saturating_add(1)));
        let newer = kept.iter().filter(|event| event.number > after);
        let events: Vec<_> = newer.map(|event| forms::Event::new(event, zone)).collect();
        let next = events.last().map_or(after, |event| event.number);
        forms::Events { events, next, missed: if after == 0 { 0 } else { missed } }
    }
}

pub(super) fn get_media(library: &Library, id: &str) -> Result<Media, Failure> {
    library.get(id)?.ok_or_else(|| Failure::new("media.unknown", [&format!("{id:?}")]))
}

pub(super) fn areas(texts: &[String]) -> Result<Vec<Area>, Failure> {
    if texts.is_empty() {
        return Err(Failure::new("area.missing", []));
    }
    if texts.len() > AREAS {
        return Err(Failure::new("area.many", [&texts.len(), &AREAS]));
    }
    texts.iter().map(|text| text.parse().map_err(|error| Failure::from_room("area.invalid", error))).collect()
}

pub(super) async fn known(api: &Api) -> Result<Vec<Known>, Failure> {
    let reports = match request(api, Request::Nodes).await {
        Ok(Reply::Nodes(reports)) => reports,
        other => return Err(unexpected(other)),
    };
    let own = api.handle.id();
    // Whoever waits for a place, or was expelled, stands nowhere.
    let placed = reports.iter().filter(|report| !matches!(report.state.as_str(), "waiting" | "expelled"));
    let known = placed.filter_map(|report| {
        let own = report.node.as_ref() == own.as_bytes().as_slice();
        let sounds = if own { api.sounds } else { report.role == Role::Speaker.as_str() };
        Some(Known { area: report.area.parse().ok()?, sounds, own })
    });
    Ok(known.collect())
}

pub(super) async fn request(api: &Api, request: Request) -> Result<Reply, Failure> {
    match tokio::time::timeout(SILENT, api.handle.request(request)).await {
        Err(_) => Err(Failure::new("node.silent", [&SILENT.as_secs()])),
        Ok(None) => Err(Failure::new("node.stopping", [])),
        Ok(Some(Reply::Refused { code, text })) => Err(Failure::from_room(code, text)),
        Ok(Some(reply)) => Ok(reply),
    }
}

pub(super) fn ordered(reply: Result<Reply, Failure>) -> Result<forms::Done, Failure> {
    match reply {
        Ok(Reply::Done { order }) => Ok(forms::Done { order }),
        other => Err(unexpected(other)),
    }
}

/// The refusal; or, for an answer to another question, what can be said of it.
pub(super) fn unexpected(reply: Result<Reply, Failure>) -> Failure {
    reply.err().unwrap_or_else(|| Failure::new("node.stopping", []))
}

/// The trunk answers within a tick; an order waits for the disk.
const SILENT: Duration = Duration::from_secs(10);
/// Uploads at once: each may take 2 GiB of disk.
pub const UPLOADS: usize = 8;
/// Files encoded at once: leaves a core of a small machine to the sound.
pub const ENCODERS: usize = 1;
/// Areas in one order: it must fit one packet.
const AREAS: usize = 64;
/// What is still on its way of an upload that is refused.
const TAKEN_IN: Duration = Duration::from_secs(3);
/// Minutes: a day.
const LONGEST_STOP: i64 = 24 * 60;
/// Events kept for those who ask.
const EVENTS: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    const ZONE: Tz = chrono_tz::Asia::Ho_Chi_Minh;

    #[test]
    fn the_newest_events_are_kept_and_a_late_reader_learns_how_many_it_missed() {
        let events = Events::default();
        for number in 1..=EVENTS as u64 + 10 {
            let what = trunk::What::Child { node: Uuid::nil(), up: true };
            events.push(trunk::Event { number, at: None, what });
        }
        let all = events.after(0, ZONE);
        assert_eq!((all.events.len(), all.next, all.missed), (EVENTS, EVENTS as u64 + 10, 0));
        let late = events.after(3, ZONE);
        assert_eq!((late.events.len(), late.missed), (EVENTS, 7));
        let up_to_date = events.after(all.next, ZONE);
        assert_eq!((up_to_date.events.len(), up_to_date.next, up_to_date.missed), (0, all.next, 0));
    }
}
