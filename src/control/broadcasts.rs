//! What is put on the air: packed, ordered, listed, cancelled.
use super::answer::{created, done, read};
use super::api::{Api, Shared, areas, get_media, known, ordered, request, unexpected};
use super::blocking;
use super::forms;
use super::packets;
use super::reach;
use super::text::{Failure, Language};
use super::when;
use crate::broadcast::{Area, Priority};
use crate::node::trunk::{self, Reply, Request};
use crate::time::{Civil, MILLISECOND, SECOND};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;
use tracing::Instrument;
use uuid::Uuid;

pub(super) async fn air(State(api): Shared, Extension(language): Extension<Language>, body: Body) -> Response {
    let work = async {
        let form: forms::Air = read(body).await?;
        let (wanted, priority) = (areas(&form.areas)?, Priority::from(form.priority));
        match put(&api, form, How::Air).await {
            Ok(Reply::Aired { broadcast, accepted, from, until, sounds, .. }) => {
                let mut aired = forms::Aired::new(broadcast, [accepted, from, until, sounds], api.zone);
                aired.warnings = warnings(&api, broadcast, wanted, priority, sounds, language).await;
                Ok(aired)
            }
            other => Err(unexpected(other)),
        }
    };
    created(work.await, language)
}

/// Who will not hear what is on the air now, as far as is known: nobody stands there, it is silenced, or something else
/// goes before it.
pub(super) async fn warnings(
    api: &Api,
    broadcast: Uuid,
    areas: Vec<Area>,
    priority: Priority,
    at: Civil,
    language: Language,
) -> Vec<forms::Fault> {
    let reached = known(api).await.unwrap_or_default();
    let mut told: Vec<Failure> =
        reach::empty(&areas, &reached).into_iter().map(|area| Failure::new("air.nobody", [area])).collect();
    let silenced = Request::Silenced { broadcast, areas, priority, at };
    if let Ok(Reply::Silenced { hushed, behind }) = request(api, silenced).await {
        let until = |until| when::moment(until, api.zone, language);
        told.extend(hushed.iter().map(|(area, end)| Failure::new("air.hushed", [area, &until(*end)])));
        told.extend(behind.iter().map(|behind| {
            let code = if behind.wholly { "air.unheard" } else { "air.behind" };
            Failure::new(code, [&behind.area, &behind.title, &until(behind.until)])
        }));
    }
    told.iter().map(|one| forms::Fault { code: one.code.clone(), text: one.text(language) }).collect()
}

/// What becomes of the order for some sound.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Air,
    /// It waits for a second signature.
    Draft,
    /// It is kept ready for so many days.
    Prepare(i64),
}

/// Packs what is to be aired, and puts it on the air, drafts it, or has it kept ready.
pub(super) async fn put(api: &Api, form: forms::Air, how: How) -> Result<Reply, Failure> {
    let areas = areas(&form.areas)?;
    let (priority, purpose) = (Priority::from(form.priority), form.purpose.into());
    if !api.speaks {
        return Err(Failure::new("authority.none", []));
    }
    let now = api.handle.snapshot().civil.ok_or_else(|| Failure::new("time.unknown", []))?;
    let at = form.at.as_deref().map(|text| air_time(text, now, api.zone)).transpose()?;
    let title = form.title.as_deref().map(title).transpose()?;
    let second = how == How::Draft;
    if let Some(prepared) = form.prepared {
        // It was cut for emergencies: any delay that suits these will do.
        let delay = form.delay_ms.map(|delay| check_delay(delay, &[], Priority::Emergency)).transpose()?;
        reach::check(&areas, &known(api).await?, priority == Priority::Emergency)?;
        let air = trunk::AirPrepared { prepared, title, areas, priority, purpose, at, delay, second };
        return request(api, Request::AirPrepared(Box::new(air))).await;
    }
    let library = api.library.clone();
    let media = blocking(move || get_media(&library, &form.media)).await?;
    let delay = form.delay_ms.map(|delay| check_delay(delay, &media.bitrates, priority)).transpose()?;
    let (cut, prepared) = match how {
        How::Prepare(days) => (Priority::Emergency, Some(days.saturating_mul(86_400 * SECOND))),
        How::Air | How::Draft => (priority, None),
    };
    reach::check(&areas, &known(api).await?, priority == Priority::Emergency)?;

    let urgent = how == How::Air && priority == Priority::Emergency;
    let title = title.unwrap_or_else(|| shorten(&media.name));
    let (library, store) = (api.library.clone(), api.handle.store());
    let (times, pause_ms) = (form.times, form.pause_ms);
    let span = tracing::info_span!("broadcast.pack", priority = ?priority);
    let mut tracks = blocking(move || {
        let _within = span.entered();
        let renditions = library.renditions(&media)?.into_iter();
        let renditions = renditions.map(|frames| packets::repeat(frames, times.unwrap_or(1), pause_ms));
        let all = packets::make_all(&renditions.collect::<Result<Vec<_>, _>>()?, cut, delay, now)?;
        for made in &all {
            for part in made.packets.chunks(KEPT_AT_ONCE) {
                store
                    .keep(made.info.id, part)
                    .map_err(|error| Failure::from_room("store.failed", error.to_string()))?;
            }
            // The order is on disk before it is given; without its sound it would be silence. An emergency does not
            // wait for the disk.
            if !urgent {
                store.settle(made.info.id).map_err(|error| Failure::from_room("store.failed", error.to_string()))?;
            }
        }
        Ok(all.into_iter().map(|made| (made.info, made.secret)).collect::<Vec<_>>())
    })
    .await?;
    let ids: Vec<_> = tracks.iter().map(|(info, _)| info.id).collect();
    let others = tracks.split_off(1.min(tracks.len()));
    let (track, secret) = tracks.pop().ok_or_else(|| Failure::new("media.packets", [&"no rendition is kept"]))?;
    let air = trunk::Air {
        id: None,
        title,
        areas,
        priority,
        purpose,
        at,
        delay,
        track,
        secret,
        others,
        live: false,
        resume: form.resume,
        second,
        prepared,
    };
    let ordered = request(api, Request::Air(Box::new(air))).instrument(tracing::info_span!("broadcast.order"));
    match ordered.await {
        Ok(reply @ (Reply::Aired { .. } | Reply::Draft { .. })) => {
            if urgent {
                let store = api.handle.store();
                // Beside its sound, which goes on whatever comes of this.
                drop(tokio::task::spawn_blocking(move || {
                    if let Err(error) = ids.into_iter().try_for_each(|id| store.settle(id)) {
                        tracing::error!(code = "store.failed", %error, "the sound of an emergency");
                    }
                }));
            }
            Ok(reply)
        }
        // It may yet be on its way to disk if nobody answered in time.
        Err(failure) if failure.code == "node.silent" => Err(failure),
        other => {
            // Nobody will ever play it.
            let store = api.handle.store();
            let _ = blocking(move || {
                ids.into_iter()
                    .try_for_each(|id| store.forget(id))
                    .map_err(|error| Failure::from_room("store.failed", error.to_string()))
            })
            .await;
            Err(unexpected(other))
        }
    }
}

pub(super) async fn list(State(api): Shared, Extension(language): Extension<Language>) -> Response {
    let listed = match request(&api, Request::Broadcasts).await {
        Ok(Reply::Broadcasts(all)) => Ok(all.into_iter().map(|one| forms::Listed::new(one, api.zone)).collect()),
        other => Err(unexpected(other)),
    };
    done(listed.map(|broadcasts| forms::Broadcasts { broadcasts }), language)
}

pub(super) async fn cancel(
    State(api): Shared,
    Extension(language): Extension<Language>,
    Path(id): Path<String>,
) -> Response {
    let work = async {
        let broadcast = id.parse().map_err(|_| Failure::new("broadcast.id", [&format!("{id:?}")]))?;
        match ordered(request(&api, Request::Cancel { broadcast }).await) {
            // Cancelled already, and its instant is yet to come.
            Err(failure) if failure.code == "order.stale" => Err(Failure::new("broadcast.over", [])),
            other => other,
        }
    };
    done(work.await, language)
}

/// The trunk looks again, with its own clock; here a mistake is found before the sound is packed.
fn air_time(text: &str, now: Civil, zone: Tz) -> Result<Civil, Failure> {
    let at = when::rfc3339(text).ok_or_else(|| Failure::new("broadcast.time", [&format!("{text:?}")]))?;
    if at < now {
        return Err(Failure::new("broadcast.past", [&when::show(at, zone), &when::show(now, zone)]));
    }
    if at - now > FARTHEST_DAYS * 86_400 * SECOND {
        return Err(Failure::new("broadcast.far", [&when::show(at, zone), &FARTHEST_DAYS]));
    }
    Ok(at)
}

pub(super) fn title(text: &str) -> Result<String, Failure> {
    match text.len() <= LONGEST_TITLE && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Failure::new("broadcast.title", [&LONGEST_TITLE])),
    }
}

fn shorten(name: &str) -> String {
    let end = (0..=LONGEST_TITLE.min(name.len())).rev().find(|end| name.is_char_boundary(*end)).unwrap_or(0);
    name.get(..end).unwrap_or("").to_owned()
}

pub(super) fn check_delay(millis: i64, bitrates: &[u32], priority: Priority) -> Result<i64, Failure> {
    let delay = millis.saturating_mul(MILLISECOND);
    let shortest = packets::shortest_delay(bitrates, priority, delay);
    match (shortest..=LONGEST_DELAY).contains(&delay) {
        true => Ok(delay),
        false => {
            let (shortest, longest) = (shortest / MILLISECOND, LONGEST_DELAY / MILLISECOND);
            Err(Failure::new("broadcast.delay", [&millis, &shortest, &longest]))
        }
    }
}

const FARTHEST_DAYS: i64 = 400;
/// Bytes (`broadcast::order`).
const LONGEST_TITLE: usize = 200;
/// µs (`broadcast::order`).
const LONGEST_DELAY: i64 = 60 * SECOND;
/// Packets in one write to the store.
const KEPT_AT_ONCE: usize = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Tz = chrono_tz::Asia::Ho_Chi_Minh;

    #[test]
    fn a_time_is_neither_past_nor_beyond_the_calendar() {
        let now = when::rfc3339("2026-11-22T12:00:00+07:00").unwrap();
        let code = |text| air_time(text, now, ZONE).map_err(|failure| failure.code);
        assert!(code("2026-11-22T12:00:00+07:00").is_ok());
        assert_eq!(code("2026-11-22T11:59:59+07:00"), Err("broadcast.past".into()));
        assert_eq!(code("2028-11-22T11:59:59+07:00"), Err("broadcast.far".into()));
        assert_eq!(code("12:00"), Err("broadcast.time".into()));
    }

    #[test]
    fn a_delay_leaves_time_for_its_packets() {
        let code = |delay, priority| check_delay(delay, &[24_000], priority).map_err(|failure| failure.code);
        assert_eq!(code(1_000, Priority::Normal), Ok(SECOND));
        assert_eq!(code(300, Priority::Normal), Ok(300 * MILLISECOND));
        for wrong in [0, -5, 100, 60_001, i64::MAX, i64::MIN] {
            assert_eq!(code(wrong, Priority::Normal), Err("broadcast.delay".into()), "{wrong}");
        }
    }

    #[test]
    fn a_long_file_name_makes_a_title_that_ends_at_a_letter() {
        assert_eq!(shorten("tin.wav"), "tin.wav");
        let long = "ả".repeat(100);
        assert_eq!(shorten(&long).len(), 198);
    }
}
