//! `loa doctor`: what is wrong with a node that runs, as it says itself and as this machine sees it; each with its
//! mend. Where none runs, what `loa check` would find.
use super::admin;
use super::check::{self, Around, Level, Report};
use super::cli::{DONE, FAILED};
use super::text::{self, Failure, Language};
use crate::config::Config;
use crate::io::identity::Identity;
use crate::io::{Handle, clock, enrolment, store};
use crate::time::Civil;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// `GET /v1/doctor` of the admin listener: how a node sees itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Own {
    pub node: Uuid,
    pub version: String,
    /// It can do its work: there is a trusted time, and a parent if one is configured.
    pub ready: bool,
    /// The tree's time, µs, if it is trusted; and the machine's.
    pub civil_us: Option<i64>,
    pub wall_us: i64,
    /// µs by which playout may be off.
    pub uncertainty_us: u64,
    /// Sessions that are up.
    pub parents: u64,
    pub children: u64,
    /// Codes of what is wrong now.
    pub troubles: Vec<String>,
    /// Of a board that is no node of the tree yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Waits>,
}

/// What a board still lacks, and who might give it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Waits {
    pub lacks: Lacks,
    /// The six digits that it speaks.
    pub code: String,
    /// The parents of its configuration.
    pub dials: Vec<String>,
    /// Why none of them has it, as one of them said last: a code and a text.
    pub refused: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Lacks {
    Certificate,
    Place,
}

impl Own {
    /// `parents`: those of its configuration.
    pub fn of(handle: &Handle, parents: &[String]) -> Self {
        let snapshot = handle.snapshot();
        let trunk = snapshot.trunk;
        let waits = (!trunk.placed && !parents.is_empty()).then(|| Waits {
            lacks: Lacks::Place,
            code: spoken(handle.id()),
            dials: parents.to_vec(),
            refused: trunk.hindrance,
        });
        Self {
            node: handle.id(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: snapshot.ready,
            civil_us: snapshot.civil.map(|civil| civil.0),
            wall_us: clock::wall().0,
            uncertainty_us: trunk.uncertainty,
            parents: trunk.parents,
            children: trunk.children,
            troubles: trunk.troubles.iter().map(|code| (*code).to_owned()).collect(),
            waits,
        }
    }

    /// A board that has no certificate yet, and so no trunk.
    pub fn newcomer(node: Uuid, parents: &[String], refused: Option<String>) -> Self {
        Self {
            node,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ready: false,
            civil_us: None,
            wall_us: clock::wall().0,
            uncertainty_us: 0,
            parents: 0,
            children: 0,
            troubles: Vec::new(),
            waits: Some(Waits { lacks: Lacks::Certificate, code: spoken(node), dials: parents.to_vec(), refused }),
        }
    }

    /// Whether it speaks for the node of this data folder, and not for another one at the same port.
    pub fn is_of(&self, config: &Config) -> bool {
        let data = &config.node.data;
        let node = Identity::load(data).ok().map(|identity| identity.node).or_else(|| enrolment::node_of(data));
        node == Some(self.node)
    }
}

/// Exit status 0 if nothing is wrong, 1 if something is.
pub async fn run(config: Option<&Path>, data: Option<&Path>, json: bool, language: Language) -> Result<u8, Failure> {
    let file = file(config, data)?;
    let (config, unbuilt) = Config::survey(&file).map_err(Failure::of_config)?;
    let mut report = Report::new(language);
    report.unbuilt(&unbuilt);
    let own = ask(config.admin.listen, language).await;
    let running = match &own {
        Ok(own) => {
            tell(&config, own, &mut report);
            true
        }
        Err(why) => {
            let holder = store::holder(&config.node.data);
            match holder {
                Some(process) => report.mistake("doctor.mute", [&process, &config.admin.listen, why]),
                None => report.mistake("doctor.not_running", [&file.display()]),
            }
            holder.is_some()
        }
    };
    let joined = own.as_ref().is_ok_and(|own| own.parents > 0);
    let mut report = super::blocking(move || {
        check::look(&config, &mut report, Around { running, joined });
        Ok(report)
    })
    .await?;
    for code in own.iter().flat_map(|own| &own.troubles) {
        trouble(code, &mut report);
    }
    let wrong = report.count(Level::Mistake);
    if json {
        println!("{}", serde_json::json!({ "well": wrong == 0, "node": own.ok(), "findings": report.findings }));
    } else {
        print!("{}", report.lines());
        println!("{}", text::say(language, "check.sum", [&wrong, &report.count(Level::Warning)]));
    }
    Ok(if wrong == 0 { DONE } else { FAILED })
}

/// What a board waits for, and what to do; its word for itself says no more.
pub fn waits(waits: &Waits, level: Level, report: &mut Report) {
    let language = report.language;
    let refused = match &waits.refused {
        None => text::say(language, "doctor.no_refusal", []),
        // In both languages, where the code is known.
        Some(said) => match said.split_once(": ").filter(|(code, _)| code.contains('.') && !code.contains(' ')) {
            Some((code, why)) => format!("{} [{code}]", Failure::from_room(code, why).text(language)),
            None => said.clone(),
        },
    };
    let dials = waits.dials.join(", ");
    let code = match waits.lacks {
        Lacks::Certificate => "enrol.waits",
        Lacks::Place => "node.waits",
    };
    report.add(level, code, text::say(language, code, [&waits.code, &dials, &refused]));
}

/// As a board that waits speaks it.
fn spoken(node: Uuid) -> String {
    format!("{:06}", crate::node::code(node))
}

/// The node's own word for itself.
fn tell(config: &Config, own: &Own, report: &mut Report) {
    report.ok("doctor.running", [&own.node, &own.version, &own.parents, &own.children]);
    if let Some(lacking) = &own.waits {
        waits(lacking, Level::Mistake, report);
    }
    if own.waits.as_ref().is_some_and(|waits| waits.lacks == Lacks::Certificate) {
        return;
    }
    match own.civil_us {
        None => report.mistake("doctor.no_time", []),
        Some(civil) => {
            let shown = super::when::moment(Civil(civil), config.node.zone, report.language);
            report.ok("doctor.time", [&shown, &format!("{:.1}", own.uncertainty_us as f64 / 1e3)]);
        }
    }
    match &config.parent {
        Some(_) if own.parents == 0 => report.mistake("doctor.no_parent", []),
        Some(parent) if own.parents < parent.addresses.len().min(2) as u64 => {
            report.warning("doctor.one_parent", [&own.parents, &parent.addresses.len()]);
        }
        _ => {}
    }
}

/// Something the node says is wrong, unless this machine sees the same.
fn trouble(code: &str, report: &mut Report) {
    let seen = report.findings.iter().any(|finding| finding.level != Level::Ok && finding.code == code);
    if !seen {
        let said = text::plain(report.language, code).map(str::to_owned);
        let said = said.unwrap_or_else(|| text::say(report.language, "doctor.trouble", [&code]));
        report.add(Level::Mistake, code, said);
    }
}

/// Of the node's own admin listener.
pub async fn ask(admin: SocketAddr, language: Language) -> Result<Own, String> {
    match admin::ask(admin, "/v1/doctor", None, language).await? {
        (200, body) => serde_json::from_str(&body).map_err(|error| error.to_string()),
        (status, _) => Err(format!("it answers with status {status}")),
    }
}

/// The configuration of the node that is meant.
pub(super) fn file(config: Option<&Path>, data: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(file) = config {
        return Ok(file.to_owned());
    }
    let known = match data {
        Some(data) => vec![data.join(super::CONFIG)],
        None => vec![PathBuf::from(INSTALLED), Path::new(super::DEMO).join(super::CONFIG)],
    };
    let shown = known.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    known.into_iter().find(|file| file.is_file()).ok_or_else(|| Failure::new("doctor.nowhere", [&shown]))
}

/// Where config/systemd/loa.service looks.
const INSTALLED: &str = "/etc/loa/loa.toml";
