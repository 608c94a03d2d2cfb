//! Settings of nodes below: what the API answers, and `loa volume` of a node or an area.
//!
//! ```text
//! GET    /v1/nodes/{id}/settings              → Settings   as this node gave them last
//! POST   /v1/nodes/{id}/settings     Set      → Settings   what is left out stays
//! ```
use super::answer::{done, read};
use super::api::{Shared, request, unexpected};
use super::cli::{DONE, FAILED, SHORT, print_json};
use super::client::Client;
use super::forms::Node;
use super::text::{Failure, Language, say};
use super::volume::{VolumeArgs, volume};
use super::{places, table};
use crate::broadcast::{self, Area, HourLimit, Stagger, Volume};
use crate::config::minute_of_day;
use crate::node::trunk::{Change, Reply, Request};
use crate::time::MILLISECOND;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// `POST /v1/nodes/{id}/settings`. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub emergency_db: Option<f64>,
    /// In the zone of the node that is asked; an empty list lifts all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Vec<Hours>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// For half an hour from now, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<bool>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hours {
    /// HH:MM.
    pub from: String,
    pub until: String,
    pub most_db: f64,
}

/// Group `number` of `of`; one of one waits for nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    pub number: u32,
    pub of: u32,
    pub step_ms: i64,
}

/// What this node has said of another; what is `None` is as that node's configuration has it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Id of the order that was given now.
    pub order: Option<Uuid>,
    /// The node, or one that leads to it, was there to be told; else it is told when it comes.
    pub told: Option<bool>,
    pub normal_db: Option<f64>,
    pub priority_db: Option<f64>,
    pub emergency_db: Option<f64>,
    pub hours: Option<Vec<Hours>>,
    pub zone: Option<Tz>,
    pub delay_ms: i64,
    pub group: Option<Group>,
    /// Delay and turn together.
    pub late_ms: i64,
}

impl Settings {
    fn new(settings: &broadcast::Settings) -> Self {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        let hours = |limit: &HourLimit| Hours {
            from: clock(limit.from),
            until: clock(limit.until),
            most_db: limit.most.decibels(),
        };
        let group =
            |stagger: Stagger| Group { number: stagger.group, of: stagger.groups, step_ms: stagger.step / MILLISECOND };
        Self {
            order: None,
            told: None,
            normal_db: settings.normal.map(Volume::decibels),
            priority_db: settings.priority.map(Volume::decibels),
            emergency_db: settings.emergency.map(Volume::decibels),
            hours: settings.hours.as_ref().map(|all| all.iter().map(hours).collect()),
            zone: settings.zone,
            delay_ms: settings.delay / MILLISECOND,
            group: settings.stagger.map(group),
            late_ms: settings.late() / MILLISECOND,
        }
    }
}

impl Set {
    pub(super) fn read(self, node: Uuid, zone: Tz) -> Result<Change, Failure> {
        let emergency = self.emergency_db.map(volume).transpose()?;
        if emergency.is_some_and(|emergency| emergency < Volume::FLOOR) {
            return Err(Failure::new("volume.floor", [&Volume::FLOOR.decibels()]));
        }
        if self.hours.as_ref().is_some_and(|hours| hours.len() > broadcast::Settings::HOURS) {
            return Err(Failure::new("volume.hours", [&broadcast::Settings::HOURS]));
        }
        let limit = |hours: &Hours| {
            let minute = |text: &str| minute_of_day(text).ok_or_else(|| Failure::new("volume.hour", [&text]));
            let (from, until) = (minute(&hours.from)?, minute(&hours.until)?);
            Ok(HourLimit { from, until, most: volume(hours.most_db)? })
        };
        let hours = self.hours.map(|hours| hours.iter().map(limit).collect::<Result<Vec<_>, Failure>>()).transpose()?;
        let longest = broadcast::Settings::DELAY / MILLISECOND;
        if self.delay_ms.is_some_and(|delay| !(0..=longest).contains(&delay)) {
            return Err(Failure::new("volume.delay", [&longest]));
        }
        Ok(Change {
            node,
            normal: self.normal_db.map(volume).transpose()?,
            priority: self.priority_db.map(volume).transpose()?,
            emergency,
            hours: hours.map(|hours| (hours, zone)),
            delay: self.delay_ms.map(|delay| delay * MILLISECOND),
            stagger: self.group.map(stagger).transpose()?,
            mute: self.mute,
        })
    }
}

fn stagger(group: Group) -> Result<Stagger, Failure> {
    let stagger = Stagger { group: group.number, groups: group.of, step: group.step_ms.saturating_mul(MILLISECOND) };
    let last = Stagger { group: group.of, ..stagger };
    let fits = (1..=Stagger::GROUPS).contains(&group.of) && (1..=group.of).contains(&group.number);
    match fits && group.step_ms >= 0 && last.late() <= Stagger::LATEST {
        true => Ok(stagger),
        false => Err(Failure::new("volume.group", [&Stagger::GROUPS, &(Stagger::LATEST / MILLISECOND)])),
    }
}

pub(super) async fn set(
    State(api): Shared,
    Extension(language): Extension<Language>,
    Path(id): Path<String>,
    body: Body,
) -> Response {
    let work = async {
        let change = read::<Set>(body).await?.read(node(&id)?, api.zone)?;
        match request(&api, Request::Settings(Box::new(change))).await {
            Ok(Reply::Settled { order, settings, told }) => {
                Ok(Settings { order: Some(order), told: Some(told), ..Settings::new(&settings) })
            }
            other => Err(unexpected(other)),
        }
    };
    done(work.await, language)
}

pub(super) async fn get(
    State(api): Shared,
    Extension(language): Extension<Language>,
    Path(id): Path<String>,
) -> Response {
    let work = async {
        match request(&api, Request::SettingsOf { node: node(&id)? }).await {
            Ok(Reply::SettingsOf(settings)) => Ok(settings.as_deref().map(Settings::new).unwrap_or_default()),
            other => Err(unexpected(other)),
        }
    };
    done(work.await, language)
}

fn node(id: &str) -> Result<Uuid, Failure> {
    id.parse().map_err(|_| Failure::new("node.id", [&format!("{id:?}")]))
}

impl Client {
    pub async fn set(&self, node: Uuid, form: &Set) -> Result<Settings, Failure> {
        self.send(&format!("/v1/nodes/{node}/settings"), form).await
    }

    pub async fn settings(&self, node: Uuid) -> Result<Settings, Failure> {
        self.get(&format!("/v1/nodes/{node}/settings"), &[]).await
    }
}

/// Says how nodes shall sound, or shows what was said.
pub async fn run(args: VolumeArgs, json: bool, language: Language) -> Result<u8, Failure> {
    let form = form(&args)?;
    let client = Client::of(&args.speaks_to, language)?;
    let mut nodes = client.nodes().await?.nodes;
    match (&args.node, &args.area) {
        (Some(named), _) => {
            let id = places::named(named, &nodes)?;
            nodes.retain(|node| node.id == id);
            match nodes.first() {
                None => return Err(Failure::new("node.none", [named])),
                // A station may have a loudspeaker of its own, and then says how loud it is.
                Some(node) if node.role == "relay" && node.volume_db.is_none() && form != Set::default() => {
                    return Err(Failure::new("volume.relay", [&node.name, &node.area]));
                }
                Some(_) => {}
            }
        }
        (None, Some(area)) => {
            let area: Area = area.parse().map_err(|error| Failure::from_room("area.invalid", error))?;
            let within = |node: &Node| node.area.parse().is_ok_and(|own: Area| area.contains(&own));
            nodes.retain(|node| {
                node.role == "speaker" && node.state != "waiting" && node.state != "expelled" && within(node)
            });
            if nodes.is_empty() {
                return Err(Failure::new("volume.nobody", [&area]));
            }
        }
        (None, None) => return Err(Failure::new("usage.volume_below", [])),
    }
    if form == Set::default() {
        return show(&client, &nodes, json, language).await;
    }
    let (mut told, mut failed, mut given) = (0, 0, Vec::new());
    for node in &nodes {
        match client.set(node.id, &form).await {
            Ok(settings) => {
                told += usize::from(settings.told == Some(true));
                given.push(serde_json::json!({ "node": node.id, "settings": settings }));
            }
            Err(failure) => {
                failed += 1;
                eprintln!("loa: {}: {} [{}]", node.name, failure.text(language), failure.code);
            }
        }
    }
    let later = nodes.len() - told - failed;
    match json {
        true => print_json(&serde_json::json!({ "told": told, "later": later, "failed": failed, "given": given })),
        false => println!("{}", say(language, "volume.given", [&told, &later, &failed])),
    }
    Ok(match (told, failed) {
        (_, 0) if later == 0 => DONE,
        (0, failed) if failed == nodes.len() => FAILED,
        _ => SHORT,
    })
}

fn form(args: &VolumeArgs) -> Result<Set, Failure> {
    let hours = match args.hours.as_deref() {
        None => None,
        Some("none") => Some(Vec::new()),
        Some(text) => Some(text.split(',').map(one_limit).collect::<Result<_, _>>()?),
    };
    let group = match args.group.as_deref() {
        None => None,
        Some("none") => Some(Group { number: 1, of: 1, step_ms: 0 }),
        Some(text) => {
            let wrong = || Failure::new("usage.group", [&text]);
            let (number, of) = text.split_once('/').ok_or_else(wrong)?;
            let (number, of) = (number.parse().map_err(|_| wrong())?, of.parse().map_err(|_| wrong())?);
            Some(Group { number, of, step_ms: args.step.ok_or_else(wrong)? })
        }
    };
    Ok(Set {
        normal_db: args.normal,
        priority_db: args.priority,
        emergency_db: args.emergency,
        hours,
        delay_ms: args.delay,
        group,
        mute: args.is_muted(),
    })
}

/// 21:00-06:00=-12.
fn one_limit(text: &str) -> Result<Hours, Failure> {
    let wrong = || Failure::new("usage.hours", [&text]);
    let (span, most) = text.split_once('=').ok_or_else(wrong)?;
    let (from, until) = span.split_once('-').ok_or_else(wrong)?;
    Ok(Hours { from: from.into(), until: until.into(), most_db: most.parse().map_err(|_| wrong())? })
}

async fn show(client: &Client, nodes: &[Node], json: bool, language: Language) -> Result<u8, Failure> {
    let mut all = Vec::new();
    for node in nodes {
        all.push((node, client.settings(node.id).await?));
    }
    if json {
        let all = all.iter().map(|(node, settings)| serde_json::json!({ "node": node, "settings": settings }));
        print_json(&serde_json::json!({ "nodes": all.collect::<Vec<_>>() }));
        return Ok(DONE);
    }
    let head = ["demo.node", "demo.area", "volume.now", "volume.until", "volume.normal"];
    let head = head.into_iter().chain(["volume.priority", "volume.emergency", "volume.by_hour", "volume.later_by"]);
    let head: Vec<String> = head.map(|code| say(language, code, [])).collect();
    let decibels = |volume: Option<f64>| volume.map_or("-".to_owned(), |volume| volume.to_string());
    let rows = all.iter().map(|(node, settings)| {
        let hours = settings.hours.iter().flatten();
        let hours = hours.map(|limit| format!("{}-{}={}", limit.from, limit.until, limit.most_db)).collect::<Vec<_>>();
        [
            node.name.clone(),
            node.area.clone(),
            decibels(node.volume_db),
            node.muted_clock().unwrap_or("-").to_owned(),
            decibels(settings.normal_db),
            decibels(settings.priority_db),
            decibels(settings.emergency_db),
            if hours.is_empty() { "-".to_owned() } else { hours.join(",") },
            settings.late_ms.to_string(),
        ]
    });
    let head: [String; 9] = head.try_into().unwrap_or_default();
    print!("{}", table::align(std::iter::once(head).chain(rows).collect(), &[2, 4, 5, 6, 8]));
    Ok(DONE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZONE: Tz = chrono_tz::Asia::Ho_Chi_Minh;

    fn refused(set: Set) -> String {
        set.read(Uuid::nil(), ZONE).unwrap_err().code
    }

    #[test]
    fn what_is_out_of_range_is_refused_by_a_code() {
        let set = Set::default;
        assert_eq!(refused(Set { normal_db: Some(0.1), ..set() }), "volume.range");
        assert_eq!(refused(Set { priority_db: Some(-31.0), ..set() }), "volume.range");
        assert_eq!(refused(Set { emergency_db: Some(-6.1), ..set() }), "volume.floor");
        assert_eq!(refused(Set { delay_ms: Some(501), ..set() }), "volume.delay");
        let hours = |from: &str| Hours { from: from.into(), until: "06:00".into(), most_db: -12.0 };
        assert_eq!(refused(Set { hours: Some(vec![hours("24:00")]), ..set() }), "volume.hour");
        assert_eq!(refused(Set { hours: Some(vec![hours("21:00"); 9]), ..set() }), "volume.hours");
        for (number, of, step_ms) in [(0, 3, 1), (4, 3, 1), (1, 17, 1), (1, 3, 5_001), (1, 2, -1), (1, 2, i64::MAX)] {
            assert_eq!(refused(Set { group: Some(Group { number, of, step_ms }), ..set() }), "volume.group");
        }
        assert!(set().read(Uuid::nil(), ZONE).is_ok_and(|change| change == Change::default()));
    }

    #[test]
    fn hours_are_written_as_they_are_said() {
        assert_eq!(
            one_limit("21:00-06:00=-12"),
            Ok(Hours { from: "21:00".into(), until: "06:00".into(), most_db: -12.0 })
        );
        for wrong in ["21:00", "21:00-06:00", "21:00=-12", "21:00-06:00=quiet"] {
            assert_eq!(one_limit(wrong).unwrap_err().code, "usage.hours", "{wrong}");
        }
    }
}
