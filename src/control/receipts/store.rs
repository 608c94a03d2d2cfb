//! The database behind `[api]`: SQLite in the data folder, or PostgreSQL. Plain SQL that both understand; numbers are
//! BIGINT, times µs Unix UTC, 0 for none.
use super::bundle::Proof;
use super::forms::{AsRun, AsRunLog, Exception, OfArea, Receipt, Receipts};
use super::query::Ask;
use crate::broadcast::receipt::{Outcome, Tally};
use crate::broadcast::{Kind, Priority, Purpose};
use crate::control::forms::Give;
use crate::control::text::Failure;
use crate::control::when;
use crate::io::Handle;
use crate::node::trunk::{Account, Reply, Request};
use crate::time::{Civil, SECOND};
use aws_lc_rs::digest;
use chrono_tz::Tz;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::sync::{Mutex, OnceCell};
use uuid::Uuid;

/// Opened when it is first needed, and tried again while it cannot be: a node sounds without it.
pub struct Store {
    url: String,
    /// For people: without a password.
    called: String,
    connections: u32,
    /// µs.
    keep: i64,
    pool: OnceCell<AnyPool>,
    seen: Mutex<Seen>,
}

/// What was taken in.
#[derive(Default)]
struct Seen {
    version: u64,
    /// Of each order, what was written last.
    written: BTreeMap<Uuid, Vec<u8>>,
}

impl Store {
    /// `database`: `postgres://…`; `None`: `loa.db` in the data folder.
    pub fn new(data: &Path, database: Option<&str>, keep_days: u32) -> Self {
        let file = std::path::absolute(data.join("loa.db")).unwrap_or_else(|_| data.join("loa.db"));
        let file = file.display().to_string();
        let (url, connections) = match database {
            Some(url) => (url.to_owned(), CONNECTIONS),
            // One writer at a time is all it takes.
            None => (format!("sqlite://{}?mode=rwc", escaped(&file)), 1),
        };
        let called = database.map_or(file, without_password);
        let keep = i64::from(keep_days) * DAY;
        Self { url, called, connections, keep, pool: OnceCell::new(), seen: Mutex::default() }
    }

    async fn pool(&self) -> Result<&AnyPool, Failure> {
        self.pool.get_or_try_init(|| self.open()).await
    }

    async fn open(&self) -> Result<AnyPool, Failure> {
        let failed = |error: &dyn std::fmt::Display| Failure::new("database.unusable", [&self.called, error]);
        sqlx::any::install_default_drivers();
        let options = sqlx::any::AnyPoolOptions::new().max_connections(self.connections).acquire_timeout(PATIENCE);
        let pool = options.connect(&self.url).await.map_err(|error| failed(&error))?;
        if self.url.starts_with("sqlite:") {
            sqlx::query("PRAGMA journal_mode = WAL").execute(&pool).await.map_err(|error| failed(&error))?;
        }
        match migrate(&pool).await {
            Ok(()) => Ok(pool),
            Err(Refused::Newer(version)) => {
                Err(Failure::new("database.newer", [&self.called, &version, &MIGRATIONS.len()]))
            }
            Err(Refused::Sql(error)) => Err(failed(&error)),
        }
    }

    /// Takes in what the trunk has learnt since it was asked last.
    pub async fn refresh(&self, handle: &Handle) -> Result<(), Failure> {
        let mut seen = self.seen.lock().await;
        loop {
            let asked = handle.request(Request::Receipts { after: seen.version, order: None });
            let Ok(Some(Reply::Receipts { version, accounts, more })) = tokio::time::timeout(PATIENCE, asked).await
            else {
                return Err(Failure::new("node.silent", [&PATIENCE.as_secs()]));
            };
            for account in accounts {
                self.take(&mut seen, &account).await?;
            }
            // It rises each time, and there is no more than the trunk holds.
            seen.version = version;
            if !more {
                return Ok(());
            }
        }
    }

    async fn take(&self, seen: &mut Seen, account: &Account) -> Result<(), Failure> {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(format!("{:?}", (&account.areas, &account.named, account.relays, account.settled)).as_bytes());
        context.update(format!("{:?}", (&account.audio, account.unnamed, account.heard.ends)).as_bytes());
        let hash = context.finish().as_ref().to_vec();
        if seen.written.get(&account.heard.order) == Some(&hash) {
            return Ok(());
        }
        write(self.pool().await?, account).await.map_err(|error| broken(&error))?;
        if seen.written.len() >= REMEMBERED {
            seen.written.pop_first();
        }
        seen.written.insert(account.heard.order, hash);
        Ok(())
    }

    pub async fn receipts(&self, ask: &Ask, zone: Tz) -> Result<Receipts, Failure> {
        let orders = orders(self.pool().await?, ask, zone).await.map_err(|error| broken(&error))?;
        Ok(Receipts { receipts: orders.into_iter().map(|(receipt, ..)| receipt).collect() })
    }

    /// The newest first.
    pub async fn as_run(&self, ask: &Ask, zone: Tz) -> Result<AsRunLog, Failure> {
        let [broadcast, area, within] = texts(ask);
        let pool = self.pool().await?;
        let rows = sqlx::query(SELECT_AS_RUN)
            .bind(broadcast)
            .bind(area)
            .bind(within)
            .bind(ask.from.map_or(0, |at| at.0))
            .bind(ask.to.map_or(i64::MAX, |at| at.0))
            .bind(MOST_ROWS)
            .fetch_all(pool);
        let rows = rows.await.map_err(|error| broken(&error))?;
        Ok(AsRunLog { as_run: rows.iter().map(|row| as_run_of(row, zone)).collect() })
    }

    /// Receipts with what proves whose order it was, and what sounded of it.
    pub(super) async fn proofs(&self, ask: &Ask, zone: Tz) -> Result<Vec<Proof>, Failure> {
        let orders = orders(self.pool().await?, ask, zone).await.map_err(|error| broken(&error))?;
        let mut proofs = Vec::new();
        for (receipts, order, grants) in orders {
            let of = Ask { broadcast: Some(receipts.id), area: ask.area.clone(), ..Ask::default() };
            let as_run = self.as_run(&of, zone).await?.as_run;
            proofs.push(Proof { before: String::new(), order, grants, receipts, as_run });
        }
        Ok(proofs)
    }

    /// Forgets what ended longer ago than is kept.
    pub async fn purge(&self, now: Civil) -> Result<(), Failure> {
        let (before, pool) = (now.0 - self.keep, self.pool().await?);
        let work = async {
            let mut within = pool.begin().await?;
            for statement in PURGE {
                sqlx::query(*statement).bind(before).execute(&mut *within).await?;
            }
            within.commit().await
        };
        work.await.map_err(|error: sqlx::Error| broken(&error))
    }
}

async fn migrate(pool: &AnyPool) -> Result<(), Refused> {
    let mut within = pool.begin().await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS loa_schema (version BIGINT NOT NULL)").execute(&mut *within).await?;
    let rows = sqlx::query("SELECT version FROM loa_schema").fetch_all(&mut *within).await?;
    let done = rows.iter().map(|row| row.get::<i64, _>("version")).max().unwrap_or(0);
    let done = usize::try_from(done).unwrap_or(0);
    if done > MIGRATIONS.len() {
        return Err(Refused::Newer(done));
    }
    for (number, statements) in MIGRATIONS.iter().enumerate().skip(done) {
        for statement in *statements {
            sqlx::query(*statement).execute(&mut *within).await?;
        }
        sqlx::query("INSERT INTO loa_schema (version) VALUES ($1)")
            .bind(number as i64 + 1)
            .execute(&mut *within)
            .await?;
    }
    within.commit().await?;
    Ok(())
}

async fn write(pool: &AnyPool, account: &Account) -> Result<(), sqlx::Error> {
    let heard = &account.heard;
    let id = heard.order.to_string();
    let mut total = Tally::default();
    account.areas.values().for_each(|tally| total.merge(tally));
    let mut within = pool.begin().await?;
    let held = sqlx::query("SELECT settled, reached FROM orders WHERE id = $1").bind(&id).fetch_all(&mut *within);
    if let Some(row) = held.await?.first() {
        // After a restart this node knows less than it had written down, until the others have told it again.
        let (settled, reached) = (row.get::<i64, _>("settled"), row.get::<i64, _>("reached"));
        if settled != 0 && i64::from(total.reached()) < reached {
            return Ok(());
        }
    }
    for clear in CLEAR {
        sqlx::query(*clear).bind(&id).execute(&mut *within).await?;
    }
    let areas: Vec<&str> = heard.areas.iter().map(|area| area.as_str()).collect();
    let grants: Vec<String> = account.grants.iter().map(|grant| Give::new(grant).order).collect();
    sqlx::query(INSERT_ORDER)
        .bind(&id)
        .bind(kind(heard.kind))
        .bind(&heard.title)
        .bind(priority(heard.priority))
        .bind(purpose(heard.purpose))
        .bind(areas.join(" "))
        .bind(heard.issued.0)
        .bind(heard.begins.0)
        .bind(heard.ends.0)
        .bind(heard.authority.to_string())
        .bind(Give::new(&heard.signed).order)
        .bind(grants.join(" "))
        .bind(i64::from(account.settled))
        .bind(i64::from(total.reached()))
        .bind(account.relays as i64)
        .bind(account.relays_reached as i64)
        .bind(account.unnamed as i64)
        .execute(&mut *within)
        .await?;
    for (area, tally) in &account.areas {
        write_area(&mut within, &id, area.as_str(), tally).await?;
        if heard.sounds() && tally.from.is_some() {
            write_as_run(&mut within, account, area.as_str(), tally).await?;
        }
    }
    for (named, name) in &account.named {
        sqlx::query(INSERT_EXCEPTION)
            .bind(&id)
            .bind(named.node.to_string())
            .bind(name)
            .bind(named.area.as_str())
            .bind(named.outcome.as_str())
            .bind(&*named.why)
            .bind(named.by.map(|by| by.to_string()).unwrap_or_default())
            .bind(i64::from(named.lost))
            .bind(named.from.map_or(0, |at| at.0))
            .bind(named.to.map_or(0, |at| at.0))
            .execute(&mut *within)
            .await?;
    }
    within.commit().await
}

async fn orders(pool: &AnyPool, ask: &Ask, zone: Tz) -> Result<Vec<(Receipt, String, Vec<String>)>, sqlx::Error> {
    let [broadcast, area, within] = texts(ask);
    let rows = sqlx::query(SELECT_ORDERS)
        .bind(broadcast)
        .bind(&area)
        .bind(&within)
        .bind(ask.from.map_or(0, |at| at.0))
        .bind(ask.to.map_or(i64::MAX, |at| at.0))
        .bind(MOST_ORDERS)
        .fetch_all(pool)
        .await?;
    let mut orders = Vec::new();
    for row in &rows {
        let text = |name: &str| row.get::<String, _>(name);
        let mut receipt = order_of(row, zone);
        let id = receipt.id.to_string();
        let areas = sqlx::query(SELECT_AREAS).bind(&id).bind(&area).bind(&within).fetch_all(pool).await?;
        receipt.by_area = areas.iter().map(|row| area_of(row, zone)).collect();
        let nodes = sqlx::query(SELECT_EXCEPTIONS).bind(&id).bind(&area).bind(&within).fetch_all(pool);
        receipt.exceptions = nodes.await?.iter().map(|row| exception_of(row, zone)).collect();
        receipt.add_up();
        orders.push((receipt, text("signed"), text("grants").split_whitespace().map(str::to_owned).collect()));
    }
    Ok(orders)
}

async fn write_area(within: &mut AnyConnection, id: &str, area: &str, tally: &Tally) -> Result<(), sqlx::Error> {
    let counts = tally.counts().filter(|(_, count)| *count > 0).map(|(outcome, count)| (outcome.as_str(), count));
    let counts: BTreeMap<&str, u32> = counts.collect();
    sqlx::query(INSERT_AREA)
        .bind(id)
        .bind(area)
        .bind(i64::from(tally.expected()))
        .bind(i64::from(tally.reached()))
        .bind(serde_json::to_string(&counts).unwrap_or_default())
        .bind(tally.from.map_or(0, |at| at.0))
        .bind(tally.to.map_or(0, |at| at.0))
        .bind(i64::from(tally.lost))
        .execute(within)
        .await
        .map(drop)
}

async fn write_as_run(
    within: &mut AnyConnection,
    account: &Account,
    area: &str,
    tally: &Tally,
) -> Result<(), sqlx::Error> {
    let heard = &account.heard;
    // What most say; of several renditions one.
    let most = tally.audio.iter().max_by_key(|(_, nodes)| **nodes);
    let track = most.and_then(|(audio, _)| account.audio.iter().find(|(_, known)| *known == audio));
    let sounded = [Outcome::Played, Outcome::Partly, Outcome::Playing, Outcome::Preempted, Outcome::Cancelled];
    let nodes: u32 = sounded.into_iter().map(|outcome| tally.count(outcome)).sum();
    sqlx::query(INSERT_AS_RUN)
        .bind(heard.order.to_string())
        .bind(area)
        .bind(&heard.title)
        .bind(priority(heard.priority))
        .bind(purpose(heard.purpose))
        .bind(tally.from.map_or(0, |at| at.0))
        .bind(tally.to.map_or(0, |at| at.0))
        .bind(track.map(|(track, _)| track.to_string()).unwrap_or_default())
        .bind(most.map(|(audio, _)| hex(audio)).unwrap_or_default())
        .bind(most.map_or(0, |(_, nodes)| i64::from(*nodes)))
        .bind(i64::from(nodes))
        .bind(heard.authority.to_string())
        .execute(within)
        .await
        .map(drop)
}

fn order_of(row: &AnyRow, zone: Tz) -> Receipt {
    let text = |name: &str| row.get::<String, _>(name);
    let number = |name: &str| row.get::<i64, _>(name);
    let shown = |name: &str| when::show(Civil(number(name)), zone);
    Receipt {
        id: text("id").parse().unwrap_or_default(),
        kind: text("kind"),
        title: text("title"),
        priority: text("priority"),
        purpose: text("purpose"),
        areas: text("areas").split_whitespace().map(str::to_owned).collect(),
        issued: shown("issued"),
        issued_us: number("issued"),
        begins: shown("begins"),
        begins_us: number("begins"),
        ends: shown("ends"),
        ends_us: number("ends"),
        signed_by: text("authority"),
        settled: number("settled") != 0,
        relays: number("relays").unsigned_abs(),
        relays_reached: number("relays_reached").unsigned_abs(),
        unnamed: number("unnamed").unsigned_abs(),
        ..Receipt::default()
    }
}

fn area_of(row: &AnyRow, zone: Tz) -> OfArea {
    let number = |name: &str| row.get::<i64, _>(name);
    OfArea {
        area: row.get("area"),
        expected: number("expected").unsigned_abs(),
        reached: number("reached").unsigned_abs(),
        outcomes: serde_json::from_str(&row.get::<String, _>("counts")).unwrap_or_default(),
        from: instant(number("began"), zone),
        from_us: number("began"),
        to: instant(number("ended"), zone),
        to_us: number("ended"),
        lost_per_mille: number("lost").clamp(0, 1_000) as u16,
    }
}

fn exception_of(row: &AnyRow, zone: Tz) -> Exception {
    let text = |name: &str| row.get::<String, _>(name);
    let number = |name: &str| row.get::<i64, _>(name);
    Exception {
        node: text("node").parse().unwrap_or_default(),
        name: text("name"),
        area: text("area"),
        outcome: text("outcome"),
        why: text("why"),
        by: text("cut_by").parse().ok(),
        lost_per_mille: number("lost").clamp(0, 1_000) as u16,
        from: instant(number("began"), zone),
        from_us: number("began"),
        to: instant(number("ended"), zone),
        to_us: number("ended"),
    }
}

fn as_run_of(row: &AnyRow, zone: Tz) -> AsRun {
    let text = |name: &str| row.get::<String, _>(name);
    let number = |name: &str| row.get::<i64, _>(name);
    AsRun {
        area: text("area"),
        broadcast: text("order_id").parse().unwrap_or_default(),
        title: text("title"),
        priority: text("priority"),
        purpose: text("purpose"),
        from: when::show(Civil(number("began")), zone),
        from_us: number("began"),
        to: instant(number("ended"), zone).unwrap_or_default(),
        to_us: number("ended"),
        track: text("track").parse().ok(),
        sha256: text("sha256"),
        alike: number("alike").unsigned_abs(),
        nodes: number("nodes").unsigned_abs(),
        signed_by: text("authority"),
    }
}

fn instant(micros: i64, zone: Tz) -> Option<String> {
    (micros > 0).then(|| when::show(Civil(micros), zone))
}

/// Broadcast, area and pattern of what lies within it. Ids and areas hold no sign that a pattern knows.
fn texts(ask: &Ask) -> [String; 3] {
    let area = ask.area.as_ref().map(ToString::to_string).unwrap_or_default();
    let within = format!("{area}/%");
    [ask.broadcast.map(|id| id.to_string()).unwrap_or_default(), area, within]
}

enum Refused {
    Newer(usize),
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

fn broken(error: &sqlx::Error) -> Failure {
    Failure::new("database.failed", [error])
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Cancel => "cancel",
        Kind::Hush => "hush",
        _ => "broadcast",
    }
}

pub(super) fn priority(priority: Priority) -> &'static str {
    match priority {
        Priority::Normal => "normal",
        Priority::Priority => "priority",
        Priority::Emergency => "emergency",
    }
}

pub(super) fn purpose(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Real => "real",
        Purpose::Exercise => "exercise",
        Purpose::Test => "test",
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as a URL has it.
fn escaped(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-_.~".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What stands in logs and answers.
fn without_password(url: &str) -> String {
    match (url.split_once("://"), url.rsplit_once('@')) {
        (Some((scheme, rest)), Some((_, host))) => {
            format!("{scheme}://{}@{host}", rest.split([':', '@']).next().unwrap_or_default())
        }
        _ => url.to_owned(),
    }
}

/// µs.
const DAY: i64 = 24 * 3_600 * SECOND;
/// People and their programs; the owner writes by one.
const CONNECTIONS: u32 = 4;
/// The trunk, and a database under load.
const PATIENCE: Duration = Duration::from_secs(10);
/// Orders whose last writing is remembered: as many as the trunk holds.
const REMEMBERED: usize = 256;
/// Of one answer: a province's month; narrower questions give the rest.
const MOST_ORDERS: i64 = 3_000;
const MOST_ROWS: i64 = 50_000;

/// Each runs once, in order; one that has been released is never changed.
const MIGRATIONS: &[&[&str]] = &[&[
    "CREATE TABLE orders (id TEXT PRIMARY KEY, kind TEXT NOT NULL, title TEXT NOT NULL, priority TEXT NOT NULL, \
     purpose TEXT NOT NULL, areas TEXT NOT NULL, issued BIGINT NOT NULL, begins BIGINT NOT NULL, ends BIGINT NOT NULL, \
     authority TEXT NOT NULL, signed TEXT NOT NULL, grants TEXT NOT NULL, settled BIGINT NOT NULL, \
     reached BIGINT NOT NULL, relays BIGINT NOT NULL, relays_reached BIGINT NOT NULL, unnamed BIGINT NOT NULL)",
    "CREATE INDEX orders_by_time ON orders (ends, begins)",
    "CREATE TABLE sums (order_id TEXT NOT NULL, area TEXT NOT NULL, expected BIGINT NOT NULL, reached BIGINT NOT NULL, \
     counts TEXT NOT NULL, began BIGINT NOT NULL, ended BIGINT NOT NULL, lost BIGINT NOT NULL, \
     PRIMARY KEY (order_id, area))",
    "CREATE TABLE exceptions (order_id TEXT NOT NULL, node TEXT NOT NULL, name TEXT NOT NULL, area TEXT NOT NULL, \
     outcome TEXT NOT NULL, why TEXT NOT NULL, cut_by TEXT NOT NULL, lost BIGINT NOT NULL, began BIGINT NOT NULL, \
     ended BIGINT NOT NULL, PRIMARY KEY (order_id, node))",
    "CREATE TABLE as_run (order_id TEXT NOT NULL, area TEXT NOT NULL, title TEXT NOT NULL, priority TEXT NOT NULL, \
     purpose TEXT NOT NULL, began BIGINT NOT NULL, ended BIGINT NOT NULL, track TEXT NOT NULL, sha256 TEXT NOT NULL, \
     alike BIGINT NOT NULL, nodes BIGINT NOT NULL, authority TEXT NOT NULL, PRIMARY KEY (order_id, area))",
    "CREATE INDEX as_run_by_time ON as_run (began)",
]];
const CLEAR: &[&str] = &[
    "DELETE FROM sums WHERE order_id = $1",
    "DELETE FROM exceptions WHERE order_id = $1",
    "DELETE FROM as_run WHERE order_id = $1",
    "DELETE FROM orders WHERE id = $1",
];
const PURGE: &[&str] = &[
    "DELETE FROM sums WHERE order_id IN (SELECT id FROM orders WHERE ends < $1)",
    "DELETE FROM exceptions WHERE order_id IN (SELECT id FROM orders WHERE ends < $1)",
    "DELETE FROM as_run WHERE order_id IN (SELECT id FROM orders WHERE ends < $1)",
    "DELETE FROM orders WHERE ends < $1",
];
const INSERT_ORDER: &str = "INSERT INTO orders (id, kind, title, priority, purpose, areas, issued, begins, ends, \
     authority, signed, grants, settled, reached, relays, relays_reached, unnamed) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
const INSERT_AREA: &str = "INSERT INTO sums (order_id, area, expected, reached, counts, began, ended, lost) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
const INSERT_EXCEPTION: &str = "INSERT INTO exceptions (order_id, node, name, area, outcome, why, cut_by, lost, began, \
     ended) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
const INSERT_AS_RUN: &str = "INSERT INTO as_run (order_id, area, title, priority, purpose, began, ended, track, \
     sha256, alike, nodes, authority) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
const SELECT_ORDERS: &str = "SELECT * FROM orders WHERE ($1 = '' OR id = $1) AND ($2 = '' OR EXISTS (SELECT area FROM \
     sums WHERE order_id = orders.id AND (area = $2 OR area LIKE $3))) AND ends >= $4 AND begins <= $5 \
     ORDER BY issued DESC, id DESC LIMIT $6";
const SELECT_AREAS: &str =
    "SELECT * FROM sums WHERE order_id = $1 AND ($2 = '' OR area = $2 OR area LIKE $3) ORDER BY area";
const SELECT_EXCEPTIONS: &str =
    "SELECT * FROM exceptions WHERE order_id = $1 AND ($2 = '' OR area = $2 OR area LIKE $3) ORDER BY area, name, node";
const SELECT_AS_RUN: &str = "SELECT * FROM as_run WHERE ($1 = '' OR order_id = $1) AND ($2 = '' OR area = $2 OR area \
     LIKE $3) AND ended >= $4 AND began <= $5 ORDER BY began DESC, area LIMIT $6";

#[cfg(test)]
#[path = "store/tests.rs"]
mod tests;
