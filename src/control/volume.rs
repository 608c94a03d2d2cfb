//! `loa volume`: how loud a loudspeaker is. Of the node on this machine what people beside it may set, by its admin
//! listener; of nodes below one with an API what their settings say ([`super::settings`]).
//!
//! ```text
//! GET  /v1/volume          → Here      how loud this node is now
//! POST /v1/volume   Turn   → Here      volumes of what is no emergency, within the limits of the hour, and the mute
//! ```
use super::cli::{DONE, NodeArgs, print_json};
use super::text::{Failure, Language, say};
use super::{admin, doctor};
use crate::broadcast::Volume;
use crate::config::Config;
use crate::io::Handle;
use crate::node::trunk::{self, Loudness, Reply, Request};
use crate::time::{Civil, MILLISECOND};
use axum::http::HeaderMap;
use clap::Args;
use serde::{Deserialize, Serialize};

/// `POST /v1/volume` of the admin listener. What is left out stays.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Turn {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub normal_db: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_db: Option<f64>,
    /// For half an hour from now, or not any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mute: Option<bool>,
}

/// How loud this node is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Here {
    pub normal_db: f64,
    pub priority_db: f64,
    pub emergency_db: f64,
    pub muted: bool,
    /// Where the node knows the time.
    pub muted_until_us: Option<i64>,
    /// By so much everything sounds later here.
    pub late_ms: i64,
}

impl Here {
    fn new(loudness: &Loudness) -> Self {
        let [normal_db, priority_db, emergency_db] = loudness.volumes.map(Volume::decibels);
        Self {
            normal_db,
            priority_db,
            emergency_db,
            muted: loudness.is_muted,
            muted_until_us: loudness.muted_until.map(|until| until.0),
            late_ms: loudness.late / MILLISECOND,
        }
    }
}

/// A volume that a person may name.
pub fn volume(decibels: f64) -> Result<Volume, Failure> {
    Volume::of_decibels(decibels).ok_or_else(|| Failure::new("volume.range", [&decibels]))
}

/// What the admin listener does. A page in a browser that runs here is nobody at the node: browsers say whose page asks.
pub(super) async fn turn(handle: &Handle, headers: &HeaderMap, body: &[u8]) -> Result<Here, Failure> {
    if headers.contains_key(axum::http::header::ORIGIN) {
        return Err(Failure::new("volume.page", []));
    }
    let form: Turn = match body {
        [] => Turn::default(),
        body => serde_json::from_slice(body).map_err(|error| Failure::new("request.json", [&error]))?,
    };
    let turn = trunk::Turn {
        normal: form.normal_db.map(volume).transpose()?,
        priority: form.priority_db.map(volume).transpose()?,
        mute: form.mute,
    };
    match handle.request(Request::Turn(turn)).await {
        Some(Reply::Loudness(loudness)) => Ok(Here::new(&loudness)),
        Some(Reply::Refused { code, text }) => Err(Failure::from_room(code, text)),
        _ => Err(Failure::new("node.stopping", [])),
    }
}

#[derive(Debug, Args)]
pub struct VolumeArgs {
    /// A node below the one spoken to, as `loa place` names it [default: the node of this machine]
    pub node: Option<String>,
    /// All loudspeakers that stand in this area
    #[arg(long, value_name = "AREA", conflicts_with = "node")]
    pub area: Option<String>,
    /// Of normal broadcasts, decibels, -30 to 0; 0 is as they came
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub normal: Option<f64>,
    /// Of priority, the same
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub priority: Option<f64>,
    /// Of real emergencies, -6 to 0
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub emergency: Option<f64>,
    /// What normal and priority may be by the hour at most, such as 21:00-06:00=-12,12:00-13:30=-6, or none
    #[arg(long, value_name = "HOURS")]
    pub hours: Option<String>,
    /// Everything sounds so much later there, 0 to 500 ms, so that two clusters that hear each other agree
    #[arg(long, value_name = "MS")]
    pub delay: Option<i64>,
    /// Group K of N that take turns, such as 2/3, or none
    #[arg(long, value_name = "K/N")]
    pub group: Option<String>,
    /// Between the beginnings of two groups; the last is at most 10000 ms late
    #[arg(long, value_name = "MS", requires = "group")]
    pub step: Option<i64>,
    /// Silences normal and priority for 30 minutes
    #[arg(long)]
    pub mute: bool,
    /// Ends that
    #[arg(long, conflicts_with = "mute")]
    pub unmute: bool,
    #[command(flatten)]
    pub speaks_to: NodeArgs,
}

impl VolumeArgs {
    pub fn is_muted(&self) -> Option<bool> {
        (self.mute || self.unmute).then_some(self.mute)
    }
}

pub async fn run(args: VolumeArgs, json: bool, language: Language) -> Result<u8, Failure> {
    if args.node.is_some() || args.area.is_some() {
        #[cfg(feature = "full")]
        return super::settings::run(args, json, language).await;
        #[cfg(not(feature = "full"))]
        return Err(Failure::new("usage.volume_below", []));
    }
    let turn = args.group.is_some() || args.step.is_some();
    if args.emergency.is_some() || args.hours.is_some() || args.delay.is_some() || turn {
        return Err(Failure::new("usage.volume_here", []));
    }
    let file = doctor::file(args.speaks_to.config.as_deref(), args.speaks_to.data.as_deref())?;
    let config = Config::load(&file).map_err(Failure::of_config)?;
    let form = Turn { normal_db: args.normal, priority_db: args.priority, mute: args.is_muted() };
    let body = if form == Turn::default() { None } else { serde_json::to_string(&form).ok() };
    let asked = admin::ask(config.admin.listen, "/v1/volume", body.as_deref(), language).await;
    let (status, answer) = asked.map_err(|why| Failure::new("volume.silent", [&config.admin.listen, &why]))?;
    if status != 200 {
        let fault: Fault = serde_json::from_str(&answer).unwrap_or_default();
        return Err(Failure::from_node(fault.code, fault.text));
    }
    let here: Here =
        serde_json::from_str(&answer).map_err(|error| Failure::new("volume.silent", [&config.admin.listen, &error]))?;
    match json {
        true => print_json(&here),
        false => print!("{}", told(&here, config.node.zone, language)),
    }
    Ok(DONE)
}

fn told(here: &Here, zone: chrono_tz::Tz, language: Language) -> String {
    let mut text = say(language, "volume.here", [&here.normal_db, &here.priority_db, &here.emergency_db]) + "\n";
    match here.muted_until_us {
        Some(until) => {
            let until = super::when::show_short(Civil(until), zone);
            text += &(say(language, "volume.muted", [&until.get(..5).unwrap_or(&until)]) + "\n");
        }
        None if here.muted => text += &(say(language, "volume.muted_now", []) + "\n"),
        None => {}
    }
    if here.late_ms != 0 {
        text += &(say(language, "volume.late", [&here.late_ms]) + "\n");
    }
    text
}

/// A refusal of the admin listener.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Fault {
    pub code: String,
    pub text: String,
}
