//! Whole nodes in one process, over real sockets.
use super::*;
use crate::broadcast::{Area, Priority, Purpose};
use crate::config::{Admin, Parent, Playout, Sources};
use crate::io::identity::{NewNode, Root};
use crate::key::SigningKey;
use crate::node::trunk::{Air, What};
use crate::track::{Info, Writer};
use std::io::Cursor;
use std::path::Path;
use std::time::Duration;

/// Real time that a test waits at most for what must come; it ends as soon as it has.
const PATIENCE: Duration = Duration::from_secs(30);

fn config(data: &Path) -> Config {
    Config {
        node: crate::config::Node { data: data.to_owned(), zone: chrono_tz::UTC, stored_mib: None },
        enrol: None,
        parent: None,
        children: None,
        sources: None,
        playout: None,
        api: None,
        timetable: crate::config::Timetable::default(),
        clock: crate::config::Clock::default(),
        admin: Admin::default(),
        log: crate::config::Log::default(),
        telemetry: None,
    }
}

/// Provisions and starts one node below `parent`.
fn start(root: &Root, folder: &Path, name: &str, area: &str, parent: Option<&Node>, speaker: Option<f64>) -> Node {
    let data = folder.join(name);
    let role = if speaker.is_some() { Role::Speaker } else { Role::Relay };
    let authority = parent.is_none().then(|| "main".to_owned());
    let node = NewNode { role, area: area.parse().unwrap(), name: name.to_owned(), authority: authority.clone() };
    root.provision(&data, &node).unwrap();
    let mut config = config(&data);
    config.parent = parent.map(|parent| Parent {
        addresses: vec![parent.handle().listening()[0].to_string()],
        shards: 1,
        multicast: true,
        both: false,
        bitrate: None,
        data_mib_per_day: None,
    });
    config.children = speaker.is_none().then(|| Children {
        listen: ([127, 0, 0, 1], 0).into(),
        shards: 1,
        beats_per_second: None,
        multicast: None,
        interface: None,
        siblings: Vec::new(),
    });
    config.sources = authority.map(Sources::new);
    config.playout = speaker.map(|rate_error_ppm| Playout {
        device: format!("wav:{}", data.join("out.wav").display()),
        rate_error_ppm,
        folder: data.clone(),
        ..Playout::new("null")
    });
    Node::start(&config).unwrap()
}

/// A tone of `seconds`, encoded and sealed, in the store of `node`.
fn track(node: &Handle, seconds: u32) -> (Info, Secret) {
    sounding(node, seconds, 0)
}

/// The same after `silence` seconds of it.
fn sounding(node: &Handle, seconds: u32, silence: u32) -> (Info, Secret) {
    let mut wav = Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 48_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut wav, spec).unwrap();
    for at in 0..(silence + seconds) * 48_000 {
        let loud = if at < silence * 48_000 { 0.0 } else { 9_000.0 };
        writer.write_sample(((at as f32 * 0.05).sin() * loud) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let wav = wav.into_inner();
    let options = crate::audio::Options { complexity: 3, ..crate::audio::Options::default() };
    let (frames, _) = crate::audio::frames_of(|| Ok(Cursor::new(wav.clone())), "tone.wav", &options, |_| {}).unwrap();
    let (secret, seed) = (Secret { key: random(), salt: random() }, random());
    let packets: Vec<_> = frames[0].frames.chunks(12).filter(|chunk| chunk.len() == 12).collect();
    let info = Info {
        id: identity::new_id(clock::wall()),
        sign: SigningKey::from_seed(&seed).public(),
        ssrc: u32::from_be_bytes(random()),
        duration: 11_520,
        anchor: clock::wall(),
        key_hash: secret.hash(),
        bitrate: 24_000,
        packets: Some(packets.len() as u64),
    };
    let room = Writer::room(info.bitrate, info.duration);
    let mut writer = Writer::new(info.clone(), &secret, SigningKey::from_seed(&seed), room);
    let packets: Vec<_> =
        packets.into_iter().map(|chunk| writer.write(&crate::audio::join(chunk), clock::wall()).unwrap()).collect();
    node.store().keep(info.id, &packets).unwrap();
    (info, secret)
}

async fn nodes(handle: &Handle) -> Vec<crate::proto::Report> {
    match handle.request(Request::Nodes).await {
        Some(Reply::Nodes(reports)) => reports,
        other => panic!("nodes: {other:?}"),
    }
}

/// Asks again and again until all speakers are there and in step.
async fn all_idle(handle: &Handle, speakers: usize) {
    let mut again = tokio::time::interval(Duration::from_millis(100));
    loop {
        again.tick().await;
        let reports = nodes(handle).await;
        if reports.iter().filter(|report| report.role == "speaker" && report.state == "idle").count() == speakers {
            return;
        }
    }
}

#[test]
fn a_bulletin_sounds_whole_and_in_step_at_two_speakers_behind_a_relay() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::generate();
    let origin = start(&root, folder.path(), "origin", "vn", None, None);
    let relay = start(&root, folder.path(), "relay", "vn/01", Some(&origin), None);
    let speakers: Vec<Node> = [80.0, -60.0]
        .into_iter()
        .enumerate()
        .map(|(at, ppm)| start(&root, folder.path(), &format!("speaker-{at}"), "vn/01/a", Some(&relay), Some(ppm)))
        .collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (info, secret) = track(&origin.handle(), 3);
    let played = runtime.block_on(async {
        tokio::time::timeout(PATIENCE, all_idle(&origin.handle(), 2)).await.expect("the speakers join");
        let mut events: Vec<_> = speakers.iter().map(|speaker| speaker.handle().events()).collect();
        let air = Air {
            id: None,
            title: "Test".into(),
            areas: vec!["vn/01".parse::<Area>().unwrap()],
            priority: Priority::Normal,
            at: None,
            delay: None,
            track: info.clone(),
            secret,
            others: Vec::new(),
            live: false,
            resume: false,
            second: false,
            prepared: None,
            purpose: Purpose::Real,
        };
        let reply = origin.handle().request(Request::Air(Box::new(air))).await;
        assert!(matches!(reply, Some(Reply::Aired { .. })), "{reply:?}");
        for events in &mut events {
            let whole = tokio::time::timeout(PATIENCE, async {
                loop {
                    if let What::Ended { whole, .. } = events.recv().await.unwrap().what {
                        return whole == Some(true);
                    }
                }
            });
            assert!(whole.await.expect("the bulletin ends"), "a speaker did not play all of it");
        }
        // The last steps were planned when the event came; they leave within the player's horizon.
        let chunks = info.packets.unwrap() * u64::from(info.duration) / 480;
        let mut again = tokio::time::interval(Duration::from_millis(20));
        let left = tokio::time::timeout(PATIENCE, async {
            while speakers.iter().any(|speaker| (speaker.handle().played().len() as u64) < chunks) {
                again.tick().await;
            }
        });
        left.await.expect("the last steps leave");
        speakers.iter().map(|speaker| speaker.handle().played()).collect::<Vec<_>>()
    });
    let of_track = |chunks: &[Played]| -> std::collections::BTreeMap<u64, f64> {
        let mine = chunks.iter().filter(|chunk| chunk.track == Some(info.id));
        mine.map(|chunk| {
            assert!(!chunk.concealed);
            (chunk.sample, chunk.left)
        })
        .collect()
    };
    let (one, two) = (of_track(&played[0]), of_track(&played[1]));
    assert_eq!(one.len() as u64 * 480, info.packets.unwrap() * u64::from(info.duration));
    assert_eq!(one.len(), two.len());
    let worst = one.iter().map(|(sample, left)| (left - two[sample]).abs()).fold(0.0, f64::max);
    println!("largest difference between the speakers: {worst:.0} µs");
    assert!(worst < 5_000.0, "{worst} µs");
    let text = relay.handle().metrics();
    assert!(
        text.contains("loa_packets_sent_total") && text.contains("loa_queue_dropped_total{queue=\"trunk.notices\"} 0"),
        "{text}"
    );
    let rejected = relay.handle().snapshot().trunk.packets_rejected;
    // Orders go three times, so duplicates are no sign of trouble.
    assert!(rejected.keys().all(|reject| *reject == crate::track::Reject::Duplicate), "{rejected:?}");
    for speaker in speakers {
        speaker.stop();
    }
    relay.stop();
    origin.stop();
    let wav = hound::WavReader::open(folder.path().join("speaker-0/out.wav")).unwrap();
    assert!(wav.len() > 3 * 48_000);
}

/// The gauge of that name in Prometheus text.
fn gauge(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[test]
fn a_speaker_shows_the_level_that_leaves_it_and_says_when_a_broadcast_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::generate();
    let origin = start(&root, folder.path(), "origin", "vn", None, None);
    let speaker = start(&root, folder.path(), "speaker", "vn/01", Some(&origin), Some(0.0));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (info, secret) = sounding(&origin.handle(), 4, 7);
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, all_idle(&origin.handle(), 1)).await.expect("the speaker joins");
        let mut events = speaker.handle().events();
        let air = Air {
            id: None,
            title: "Silence, then a tone".into(),
            areas: vec!["vn/01".parse::<Area>().unwrap()],
            priority: Priority::Normal,
            at: None,
            delay: None,
            track: info,
            secret,
            others: Vec::new(),
            live: false,
            resume: false,
            second: false,
            prepared: None,
            purpose: Purpose::Real,
        };
        let reply = origin.handle().request(Request::Air(Box::new(air))).await;
        assert!(matches!(reply, Some(Reply::Aired { .. })), "{reply:?}");
        let mut next = async |silent: bool| loop {
            match events.recv().await.unwrap().what {
                What::Trouble { code: "sound.silent", text } if silent => return text,
                What::Mended { code: "sound.silent", text } if !silent => return text,
                What::Trouble { .. } | What::Mended { .. } => panic!("trouble in the wrong order"),
                _ => {}
            }
        };
        let text = tokio::time::timeout(PATIENCE, next(true)).await.expect("the silence is said");
        assert!(text.contains("-60 dBFS for 5 s"), "{text}");
        let shown = tokio::time::timeout(PATIENCE, async {
            // The origin is told at once, not with the next keep-alive.
            let mut again = tokio::time::interval(Duration::from_millis(20));
            loop {
                again.tick().await;
                let reports = nodes(&origin.handle()).await;
                if let Some(report) = reports.into_iter().find(|report| report.trouble == "sound.silent") {
                    return report;
                }
            }
        });
        let report = shown.await.expect("the origin sees it");
        // Opus leaves a trace of noise, some −90 dBFS.
        assert!(report.peak.is_some_and(|level| (-10_000..-6_000).contains(&level)), "{report:?}");
        assert!(report.rms.is_some_and(|level| (-10_000..-6_000).contains(&level)), "{report:?}");
        let text = tokio::time::timeout(PATIENCE, next(false)).await.expect("its end is said");
        assert!(text.contains("sound leaves again"), "{text}");
        let loud = tokio::time::timeout(PATIENCE, async {
            let mut again = tokio::time::interval(Duration::from_millis(50));
            loop {
                again.tick().await;
                let text = speaker.handle().metrics();
                let (peak, rms) = (gauge(&text, "loa_output_peak_dbfs"), gauge(&text, "loa_output_rms_dbfs"));
                // A whole second of the sine, whose peak is 3 dB above its RMS.
                if let (Some(peak), Some(rms)) = (peak, rms)
                    && (peak - rms - 3.0).abs() < 0.5
                {
                    return rms;
                }
            }
        });
        let rms = loud.await.expect("the level is shown");
        assert!((-30.0..-5.0).contains(&rms), "{rms} dBFS");
    });
    speaker.stop();
    origin.stop();
}

#[test]
fn a_node_that_cannot_start_says_what_is_in_the_way_and_how_to_mend_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = Root::generate();
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let data = folder.path().join("a");
    let error = Node::start(&config(&data)).err().unwrap();
    assert!(error.code == "node.identity" && error.text.contains("node.key"), "{error}");
    let area: Area = "vn".parse().unwrap();
    let node = NewNode { role: Role::Relay, area: area.clone(), name: "a".into(), authority: None };
    root.provision(&data, &node).unwrap();
    let mut config = config(&data);
    config.children = Some(Children {
        listen: taken.local_addr().unwrap(),
        shards: 1,
        beats_per_second: None,
        multicast: None,
        interface: None,
        siblings: Vec::new(),
    });
    let error = Node::start(&config).err().unwrap();
    assert!(error.code == "node.port" && error.text.contains("children.listen"), "{error}");
    config.children = None;
    config.sources = Some(Sources::new("none"));
    let error = Node::start(&config).err().unwrap();
    assert!(error.code == "node.authority" && error.text.contains("none.key"), "{error}");
    let data = folder.path().join("b");
    root.provision(&data, &NewNode { role: Role::Speaker, area, name: "b".into(), authority: None }).unwrap();
    config.node.data = data;
    config.sources = None;
    config.children = Some(Children {
        listen: ([127, 0, 0, 1], 0).into(),
        shards: 1,
        beats_per_second: None,
        multicast: None,
        interface: None,
        siblings: Vec::new(),
    });
    let error = Node::start(&config).err().unwrap();
    assert!(error.code == "config.role", "{error}");
}
