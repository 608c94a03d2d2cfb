//! What a node built with OpenTelemetry tells a collector, and that no collector holds it up: real processes, and a
//! collector of the test's own that takes, is away or answers nothing.

mod collector;
#[path = "secrets/needles.rs"]
#[allow(dead_code, reason = "shared with the test of secrets")]
mod needles;
mod ports;
#[path = "secrets/tree.rs"]
#[allow(dead_code, reason = "shared with the test of secrets")]
mod tree;

use collector::{Attributes, Collector, Mood, Span, attributes};
use needles::Needles;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tree::{Tree, get, until};

#[test]
fn a_collector_gets_requests_with_their_work_and_events_and_nothing_that_a_caller_wrote() {
    let collector = Collector::start(Mood::Takes);
    let mut tree = Tree::new();
    let (origin, pole) = (tree.path("tree/origin"), tree.path("pole"));
    let speaker = ["--role", "speaker", "--area", "vn/01", "--name", "pole", "--parent", "x.example:1"];
    tree.enrol(&[&speaker[..], &["--folder", &pole]].concat());
    tree.configure();
    sends(&tree, "tree/origin", collector.address, "");
    // At trace: what Loa itself says there is sent, too.
    run(&mut tree, &origin, &[("LOA_LOG", "trace"), ("OTEL_EXPORTER_OTLP_HEADERS", "x-country=vn")]);
    until("the origin is ready", || get(tree.admin[0], "/readyz", None).is_some());
    tree.run(&pole);
    until("the loudspeaker has joined", || get(tree.admin[1], "/readyz", None).is_some());

    let sound = tree.path("khong-ai-biet-ten-nay.wav");
    fs::rename(tree.sound(), &sound).unwrap();
    let aired = tree.loa(&["--json", "air", &sound, "--area", "vn", "--title", "tieu-de-rieng", "--data", &origin]);
    assert!(aired.contains("\"accepted_us\""), "{aired}");
    let token = fs::read_to_string(format!("{origin}/api.token")).unwrap().trim().to_owned();
    let wrong_token = "0123456789abcdef".repeat(4);
    tree::answer(tree.api, "/v1/nodes", Some(&wrong_token)).unwrap();
    for path in [format!("/v1/{token}"), format!("/v1/events?after={token}"), format!("/v1/media/{token}")] {
        tree::answer(tree.api, &path, Some(&token)).unwrap();
    }
    let own = get(tree.admin[0], "/v1/doctor", None).unwrap();
    let own: serde_json::Value = serde_json::from_str(&own).unwrap();
    stop(&mut tree, 0);

    // All of it is there once the process has ended: the last batch, too.
    let spans = collector.spans();
    let upload = one(&spans, "POST /v1/media");
    assert_eq!(upload.kind, 2, "a server's");
    assert!(upload.end > upload.start && upload.parent_span_id.is_empty());
    let said = attributes(&upload.attributes);
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/v1/media"),
        ("http.response.status_code", "201"),
        ("target", "loa::control::trace"),
    ] {
        assert_eq!(said.get(name).map(String::as_str), Some(value), "{name} in {said:?}");
    }
    let air = one(&spans, "POST /v1/broadcasts");
    for (work, of) in [
        ("media.receive", upload),
        ("media.turn", upload),
        ("media.encode", upload),
        ("broadcast.pack", air),
        ("broadcast.order", air),
    ] {
        let work = one(&spans, work);
        assert_eq!((&work.trace_id, &work.parent_span_id), (&of.trace_id, &of.span_id), "{}", work.name);
    }
    let refusals = [
        ("GET /v1/nodes", "401", "auth.wrong"),
        ("GET nowhere", "404", "request.path"),
        ("GET /v1/events", "400", "request.query"),
        ("GET /v1/media/{id}", "404", "media.unknown"),
    ];
    for (name, status, code) in refusals {
        let told = spans.iter().filter(|(_, span)| span.name == name).map(|(_, span)| attributes(&span.attributes));
        let is = |said: &Attributes| {
            said.get("http.response.status_code").is_some_and(|said| said == status)
                && said.get("error.type").is_some_and(|said| said == code)
        };
        let told: Vec<_> = told.collect();
        assert!(told.iter().any(is), "{name}: {told:?}");
    }

    let records = collector.records();
    for event in ["running", "stopping"] {
        assert!(records.iter().any(|(_, record)| record.text() == event), "no event {event:?}");
    }
    let speakers: Vec<&Attributes> =
        spans.iter().map(|(who, _)| who).chain(records.iter().map(|(who, _)| who)).collect();
    for who in speakers {
        let id = own["node"].as_str().unwrap();
        let is = |name: &str, value: &str| assert_eq!(who.get(name).map(String::as_str), Some(value), "{who:?}");
        is("service.name", "loa");
        is("service.version", env!("CARGO_PKG_VERSION"));
        is("service.instance.id", id);
        is("loa.node.area", "vn");
        is("loa.node.role", "relay");
        assert!(who.contains_key("loa.node.name"), "{who:?}");
    }

    let mut needles = Needles::default();
    needles.text("the passphrase", tree::PASSPHRASE);
    needles.text("the token", &token);
    needles.text("a wrong token", &wrong_token);
    needles.text("the file's name", "khong-ai-biet-ten-nay");
    needles.text("the title", "tieu-de-rieng");
    for data in [&origin, &pole] {
        needles.data_folder(Path::new(data));
    }
    assert!(needles.count() > 40, "only {} forms of secrets are looked for", needles.count());
    for taken in collector.taken() {
        let found = needles.find(&taken.body).or_else(|| needles.find_raw(&taken.body));
        assert_eq!(found, None, "{} tells it", taken.path);
        assert_eq!(taken.headers.get("x-country").map(|value| value.as_bytes()), Some(&b"vn"[..]));
        assert_eq!(taken.headers["content-type"], "application/x-protobuf");
    }
    // That there was something to search, and of Loa alone.
    assert!(records.len() > 2 && spans.len() > 10, "{} records, {} spans", records.len(), spans.len());
    assert!(tree.log(&origin).contains("TRACE"), "the log is not at trace");
    assert!(!tree.log(&origin).contains("http.route"), "spans are no part of the log");
}

#[test]
fn a_collector_that_answers_nothing_holds_up_neither_api_nor_shutdown_and_what_is_dropped_is_counted() {
    let collector = Collector::start(Mood::Silent);
    let (mut tree, origin) = origin(collector.address, "");
    let begun = Instant::now();
    let mut slowest = Duration::ZERO;
    let dropped = || {
        let metrics = get(tree.admin[0], "/metrics", None).unwrap_or_default();
        let line = metrics.lines().find_map(|line| line.strip_prefix("loa_queue_dropped_total{queue=\"telemetry\"} "));
        line.expect("the queue is shown from the start").parse::<u64>().unwrap()
    };
    assert_eq!(dropped(), 0);
    // One span each: the queue and the batch under way are full in the end.
    while dropped() == 0 {
        for _ in 0..100 {
            let asked = Instant::now();
            assert!(tree::answer(tree.api, "/v1/nodes", None).is_some_and(|answer| answer.contains("auth.missing")));
            slowest = slowest.max(asked.elapsed());
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is dropped within a minute");
    }
    assert!(slowest < Duration::from_secs(2), "a request took {slowest:?}");
    assert!(collector.asked() >= 1 && collector.taken().is_empty());
    let took = stop(&mut tree, 0);
    // Node and listeners may take five of them.
    assert!(took < Duration::from_secs(8), "the shutdown took {took:?}");
    assert!(tree.log(&origin).matches("telemetry.collector").count() <= 1);
}

#[test]
fn a_collector_that_is_away_is_told_of_once_and_gets_it_all_when_it_is_back() {
    let collector = Collector::start(Mood::Away);
    let (mut tree, origin) = origin(collector.address, "");
    assert!(tree::answer(tree.api, "/v1/live", None).is_some());
    until("it has been asked three times", || collector.asked() >= 3);
    let told = |words: &str| tree.log(&origin).matches(words).count();
    assert_eq!(told("takes no telemetry"), 1, "{}", tree.log(&origin));
    let log = tree.log(&origin);
    let line = log.lines().find(|line| line.contains("takes no telemetry")).unwrap();
    assert!(line.contains("WARN") && line.contains("code=\"telemetry.collector\""), "{line}");
    assert!(line.contains("503") && line.contains(&collector.address.to_string()), "{line}");
    collector.becomes(Mood::Takes);
    until("what was said meanwhile comes", || collector.has_span("GET /v1/live") && collector.has_record("running"));
    until("it is told that it is back", || told("takes telemetry again") == 1);
    assert_eq!(told("takes no telemetry"), 1);
    stop(&mut tree, 0);
}

#[test]
fn how_much_is_sent_follows_the_configuration_at_a_hang_up_and_the_log_goes_on() {
    let collector = Collector::start(Mood::Takes);
    let (mut tree, origin) = origin(collector.address, "level = \"off\"\n");
    assert!(tree::answer(tree.api, "/v1/nodes", None).is_some());
    let file = format!("{origin}/loa.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("level = \"off\"", "level = \"info\"")).unwrap();
    tree.hang_up(0);
    until("it is read again", || tree.log(&origin).contains("the configuration was read again"));
    assert!(tree::answer(tree.api, "/v1/live", None).is_some());
    until("the span comes", || collector.has_span("GET /v1/live"));
    fs::write(&file, config.replace("level = \"off\"", "level = \"error\"")).unwrap();
    let before = tree.log(&origin).len();
    tree.hang_up(0);
    until("it is read once more", || tree.log(&origin)[before..].contains("the configuration was read again"));
    assert!(tree::answer(tree.api, "/v1/authorities", None).is_some());
    stop(&mut tree, 0);
    assert!(!collector.has_span("GET /v1/nodes"), "it was said while nothing was to be");
    assert!(!collector.has_span("GET /v1/authorities"), "it is no error");
}

#[test]
fn the_log_follows_its_own_level_while_telemetry_has_another() {
    let collector = Collector::start(Mood::Takes);
    let mut tree = alone();
    sends(&tree, "tree/origin", collector.address, "level = \"info\"\n\n[log]\nlevel = \"error\"\n");
    let origin = tree.path("tree/origin");
    run(&mut tree, &origin, &[]);
    until("the collector hears that it runs", || collector.has_record("running"));
    assert!(!tree.log(&origin).contains("INFO"), "{}", tree.log(&origin));
    let file = format!("{origin}/loa.toml");
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, config.replace("level = \"error\"", "level = \"loa=debug\"")).unwrap();
    tree.hang_up(0);
    until("it is told", || tree.log(&origin).contains("the configuration was read again"));
    stop(&mut tree, 0);
    assert!(tree.log(&origin).contains("stopping"));
}

#[test]
fn a_collector_that_cannot_be_dialled_so_is_a_mistake_that_loa_check_tells() {
    let tree = alone();
    let file = tree.path("tree/origin/loa.toml");
    let config = fs::read_to_string(&file).unwrap();
    for wrong in ["https://otel.example.vn:4318", "http://key@otel.example.vn:4318", "otel.example.vn"] {
        fs::write(&file, format!("{config}\n[telemetry]\notlp = \"{wrong}\"\n")).unwrap();
        let program = env!("CARGO_BIN_EXE_loa");
        let done = Command::new(program).args(["check", "--config", &file]).env("LANG", "C").output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(2), "{wrong}: {text}");
        assert!(
            text.contains("telemetry.otlp: must be http://HOST:PORT") && text.contains("[config.invalid]"),
            "{text}"
        );
    }
}

/// A tree of which only the origin will run.
fn alone() -> Tree {
    let tree = Tree::new();
    fs::create_dir(tree.path("pole")).unwrap();
    tree.configure();
    tree
}

/// An origin alone, which runs and sends to `collector`.
fn origin(collector: SocketAddr, more: &str) -> (Tree, String) {
    let mut tree = alone();
    sends(&tree, "tree/origin", collector, more);
    let origin = tree.path("tree/origin");
    run(&mut tree, &origin, &[("LOA_LOG", "info")]);
    until("the origin is ready", || get(tree.admin[0], "/readyz", None).is_some());
    (tree, origin)
}

fn sends(tree: &Tree, data: &str, collector: SocketAddr, more: &str) {
    let file = format!("{}/loa.toml", tree.path(data));
    let config = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("{config}\n[telemetry]\notlp = \"http://{collector}\"\n{more}")).unwrap();
}

/// As [`Tree::run`], with a say in the environment.
fn run(tree: &mut Tree, data: &str, environment: &[(&str, &str)]) {
    let log = fs::File::create(Path::new(data).join("log")).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
    command.args(["run", "--config", &format!("{data}/loa.toml")]).env("LANG", "C").env_remove("LOA_LOG");
    command.envs(environment.iter().copied()).stdin(Stdio::null());
    command.stdout(log.try_clone().unwrap()).stderr(log);
    tree.running.push(command.spawn().unwrap());
}

/// SIGTERM to the node that was started as the nth; how long it took to end.
fn stop(tree: &mut Tree, at: usize) -> Duration {
    let asked = Instant::now();
    let sent = Command::new("kill").args(["-TERM", &tree.running[at].id().to_string()]).status().unwrap();
    assert!(sent.success());
    until("the node has ended", || tree.running[at].try_wait().unwrap().is_some());
    asked.elapsed()
}

fn one<'a>(spans: &'a [(Attributes, Span)], name: &str) -> &'a Span {
    let names: Vec<&str> = spans.iter().map(|(_, span)| span.name.as_str()).collect();
    spans
        .iter()
        .map(|(_, span)| span)
        .find(|span| span.name == name)
        .unwrap_or_else(|| panic!("no {name} in {names:?}"))
}
