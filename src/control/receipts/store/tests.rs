//! One suite on both databases.
use super::super::fixture::{NOW, account, area};
use super::*;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

const ZONE: Tz = chrono_tz::Asia::Ho_Chi_Minh;

async fn opened(data: &Path, database: Option<&str>, keep_days: u32) -> Result<Store, Failure> {
    let store = Store::new(data, database, keep_days);
    store.pool().await.map(drop)?;
    Ok(store)
}

async fn take(store: &Store, account: &Account) {
    let mut seen = store.seen.lock().await;
    store.take(&mut seen, account).await.unwrap();
}

async fn ids(store: &Store, ask: Ask) -> Vec<Uuid> {
    store.receipts(&ask, ZONE).await.unwrap().receipts.iter().map(|receipt| receipt.id).collect()
}

/// What is taken in is found by broadcast, area and period; later word replaces earlier; what is old goes.
async fn suite(store: &Store) {
    let (first, second) = (account(1, NOW), account(2, NOW + 40 * DAY));
    let (one, two) = (first.heard.order, second.heard.order);
    take(store, &first).await;
    take(store, &first).await;
    take(store, &second).await;
    assert_eq!(ids(store, Ask::default()).await, [two, one], "the newest first");
    assert_eq!(ids(store, Ask { broadcast: Some(one), ..Ask::default() }).await, [one]);
    assert_eq!(ids(store, Ask { to: Some(NOW + DAY), ..Ask::default() }).await, [one]);
    assert_eq!(ids(store, Ask { from: Some(NOW + DAY), ..Ask::default() }).await, [two]);
    assert_eq!(ids(store, Ask { area: Some(area("vn/01/00001")), ..Ask::default() }).await.len(), 2);
    assert!(ids(store, Ask { area: Some(area("vn/02")), ..Ask::default() }).await.is_empty());
    assert!(ids(store, Ask { area: Some(area("vn/01/0000")), ..Ask::default() }).await.is_empty(), "whole segments");

    let of = |text: &str| Ask { broadcast: Some(one), area: Some(area(text)), ..Ask::default() };
    let receipt = store.receipts(&of("vn"), ZONE).await.unwrap().receipts.remove(0);
    assert_eq!((receipt.expected, receipt.reached, receipt.played, receipt.relays_reached), (4, 3, 3, 2));
    assert_eq!((receipt.title.as_str(), receipt.settled, receipt.is_short()), ("Bản tin", true, true));
    assert_eq!((receipt.exceptions.len(), receipt.exceptions[0].name.as_str()), (1, "cột 13"));
    let commune = store.receipts(&of("vn/01/00001"), ZONE).await.unwrap().receipts.remove(0);
    assert_eq!((commune.expected, commune.exceptions.len()), (2, 0), "the others are another commune's");

    let log = store.as_run(&of("vn/01"), ZONE).await.unwrap().as_run;
    assert_eq!(
        log.iter().map(|row| (row.area.as_str(), row.alike, row.nodes)).collect::<Vec<_>>(),
        [("vn/01/00001", 2, 2), ("vn/01/00002", 1, 1)]
    );
    assert_eq!((log[0].sha256.clone(), log[0].track), (hex(&[7; 32]), first.audio.keys().next().copied()));
    assert_eq!(log[0].to_us - log[0].from_us, 6 * SECOND);

    // A node that starts anew knows less at first, and what was settled stays.
    let mut less = first.clone();
    less.areas.clear();
    less.named.clear();
    take(store, &less).await;
    assert_eq!(store.receipts(&of("vn"), ZONE).await.unwrap().receipts[0].reached, 3);
    // Whoever was not reached says that it missed it.
    let mut more = first.clone();
    more.named.clear();
    let tally = more.areas.get_mut(&area("vn/01/00002")).unwrap();
    tally.take_away(Outcome::NotReached, 1);
    tally.put(Outcome::Missed, 1);
    take(store, &more).await;
    let receipt = store.receipts(&of("vn"), ZONE).await.unwrap().receipts.remove(0);
    assert_eq!((receipt.count(Outcome::Missed), receipt.count(Outcome::NotReached)), (1, 0));

    store.purge(NOW + 31 * DAY).await.unwrap();
    assert_eq!(ids(store, Ask::default()).await, [two]);
    let none = Ask { to: Some(NOW + DAY), ..Ask::default() };
    assert!(store.as_run(&none, ZONE).await.unwrap().as_run.is_empty());
}

#[tokio::test]
async fn sqlite_keeps_what_is_taken_in_and_over_a_restart() {
    let folder = tempfile::Builder::new().prefix("a folder #1 ").tempdir().unwrap();
    let store = opened(folder.path(), None, 30).await.unwrap();
    suite(&store).await;
    store.pool().await.unwrap().close().await;
    let again = opened(folder.path(), None, 30).await.unwrap();
    assert_eq!(ids(&again, Ask::default()).await.len(), 1);
    assert!(folder.path().join("loa.db").is_file());
}

#[tokio::test]
async fn a_database_of_a_later_release_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = opened(folder.path(), None, 30).await.unwrap();
    sqlx::query("INSERT INTO loa_schema (version) VALUES (99)").execute(store.pool().await.unwrap()).await.unwrap();
    store.pool().await.unwrap().close().await;
    let refused = opened(folder.path(), None, 30).await.err().unwrap();
    assert_eq!(refused.code, "database.newer");
    let nowhere = folder.path().join("no/such/folder");
    let store = Store::new(&nowhere, None, 30);
    assert_eq!(store.receipts(&Ask::default(), ZONE).await.unwrap_err().code, "database.unusable");
    std::fs::create_dir_all(&nowhere).unwrap();
    assert!(store.receipts(&Ask::default(), ZONE).await.is_ok(), "it is tried again");
}

#[tokio::test]
async fn postgresql_keeps_the_same() {
    let Some(server) = Postgres::start() else {
        eprintln!("postgresql_keeps_the_same: skipped, there is no postgresql here: apt-get install postgresql");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@localhost/postgres?host={}", server.folder.path().display());
    let store = opened(folder.path(), Some(&url), 30).await.unwrap();
    suite(&store).await;
    store.pool().await.unwrap().close().await;
    let again = opened(folder.path(), Some(&url), 30).await.unwrap();
    assert_eq!(ids(&again, Ask::default()).await.len(), 1);
    again.pool().await.unwrap().close().await;
}

#[test]
fn a_password_stands_in_no_message() {
    assert_eq!(without_password("postgres://loa:secret@db:5432/loa"), "postgres://loa@db:5432/loa");
    assert_eq!(without_password("postgres://db/loa"), "postgres://db/loa");
}

/// A server of the test's own, on a socket in its own folder.
struct Postgres {
    folder: tempfile::TempDir,
    tools: PathBuf,
    user: Option<(u32, u32)>,
}

impl Postgres {
    fn start() -> Option<Self> {
        let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let tools = packaged.map(|version| version.path().join("bin")).find(|bin| bin.join("initdb").is_file())?;
        // It does not run as root.
        let user = (number("-u", None)? == 0)
            .then(|| Some((number("-u", Some("postgres"))?, number("-g", Some("postgres"))?)));
        let user = match user {
            Some(user) => Some(user?),
            None => None,
        };
        let folder = tempfile::tempdir().unwrap();
        if let Some((uid, gid)) = user {
            std::os::unix::fs::chown(folder.path(), Some(uid), Some(gid)).ok()?;
        }
        let server = Self { folder, tools, user };
        let at = server.folder.path().join("db").display().to_string();
        server.run("initdb", &["-D", &at, "-U", "postgres", "-A", "trust", "--no-sync"]).then_some(())?;
        let options = format!("-c listen_addresses='' -c unix_socket_directories='{}'", server.folder.path().display());
        let log = server.folder.path().join("log").display().to_string();
        server.run("pg_ctl", &["-D", &at, "-o", &options, "-l", &log, "-w", "start"]).then_some(server)
    }

    fn run(&self, tool: &str, arguments: &[&str]) -> bool {
        let mut command = Command::new(self.tools.join(tool));
        command.args(arguments).current_dir(self.folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some((uid, gid)) = self.user {
            command.gid(gid).uid(uid);
        }
        command.status().is_ok_and(|status| status.success())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let at = self.folder.path().join("db").display().to_string();
        self.run("pg_ctl", &["-D", &at, "-m", "immediate", "-w", "stop"]);
    }
}

fn number(what: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(what).args(user).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
