//! A live source in two renditions over real sockets: a relay with two loudspeakers, of which one spares its data.

use super::http::{PCM, answer, pcm, speech};
use loa::config::Config;
use loa::control::serve;
use loa::io::Node;
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use loa::node::trunk::What;
use serde_json::Value;
use std::time::{Duration, Instant};

async fn start(config: Config) -> Node {
    tokio::task::spawn_blocking(move || Node::start(&config).unwrap()).await.unwrap()
}

async fn stop(node: Node) {
    tokio::task::spawn_blocking(move || node.stop()).await.unwrap();
}

/// Asks for the nodes until they are as wished.
async fn until(what: &str, ask: impl AsyncFn() -> Value, holds: impl Fn(&[Value]) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let nodes = ask().await;
        if holds(nodes["nodes"].as_array().map_or(&[], Vec::as_slice)) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: not within 30 s: {nodes}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[test]
fn two_loudspeakers_hear_one_live_source_in_two_renditions_and_their_relay_carries_both() {
    crate::in_real_time(
        "two_loudspeakers_hear_one_live_source_in_two_renditions_and_their_relay_carries_both",
        async || {
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
            let folder = tempfile::tempdir().unwrap();
            let root = Root::generate();
            let config = |name: &str, area: &str, role, authority: Option<&str>, sections: &str| {
                let node = NewNode {
                    role,
                    area: area.parse().unwrap(),
                    name: name.into(),
                    authority: authority.map(Into::into),
                };
                root.provision(&folder.path().join(name), &node).unwrap();
                let text = format!("[node]\ndata = \"{name}\"\n[admin]\nlisten = \"127.0.0.1:0\"\n{sections}");
                Config::parse(&text, &folder.path().join("loa.toml")).unwrap()
            };
            let children = "[children]\nlisten = \"127.0.0.1:0\"\n";
            let sections = format!(
                "{children}[sources]\nauthority = \"national\"\nbitrates = [24000, 16000]\n[api]\nlisten = \"127.0.0.1:0\"\n"
            );
            let origin = serve::start(&config("origin", "vn", Role::Relay, Some("national"), &sections)).await.unwrap();
            let parent = |address: std::net::SocketAddr| format!("[parent]\naddresses = [\"{address}\"]\n");
            let sections = format!("{}{children}", parent(origin.handle.listening()[0]));
            let relay = start(config("relay", "vn/01", Role::Relay, None, &sections)).await;
            let above = parent(relay.handle().listening()[0]);
            let mut speakers = Vec::new();
            for (name, wish) in [("high", ""), ("low", "bitrate = 16000\n")] {
                let sections = format!("{above}{wish}[playout]\ndevice = \"null\"\n");
                let speaker = start(config(name, "vn/01/00001", Role::Speaker, None, &sections)).await;
                speakers.push((speaker.handle().events(), speaker));
            }

            let token = std::fs::read_to_string(folder.path().join("origin/api.token")).unwrap().trim().to_owned();
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let url = format!("http://{}", origin.api.unwrap());
            let nodes = async || answer(http.get(format!("{url}/v1/nodes")).bearer_auth(&token)).await.1;
            let speakers_of = |nodes: &[Value], holds: &dyn Fn(&Value) -> bool| {
                nodes.iter().filter(|node| node["role"] == "speaker" && holds(node)).count()
            };
            until("both are idle", &nodes, |nodes| speakers_of(nodes, &|node| node["state"] == "idle") == 2).await;

            let received = || relay.handle().snapshot().trunk.received;
            let before = received();
            let post = http.post(format!("{url}/v1/live?{PCM}")).bearer_auth(&token).body(pcm(&speech(10)));
            let airing = tokio::spawn(answer(post));
            let sounds = |nodes: &[Value], name: &str, bitrate: u32| {
                speakers_of(nodes, &|node| node["name"] == name && node["bitrate"] == bitrate) == 1
            };
            until("each sounds its own", &nodes, |nodes| sounds(nodes, "high", 24_000) && sounds(nodes, "low", 16_000))
                .await;
            let (status, summary) = airing.await.unwrap();
            assert_eq!((status, &summary["dropped"]), (200, &0.into()), "{summary}");
            let broadcast = summary["broadcast"]["id"].as_str().unwrap();
            for (events, speaker) in &mut speakers {
                let ended = async {
                    loop {
                        match events.recv().await.unwrap().what {
                            What::Ended { broadcast: id, whole, .. } if id.to_string() == broadcast => {
                                return whole == Some(true);
                            }
                            _ => {}
                        }
                    }
                };
                let whole = tokio::time::timeout(Duration::from_secs(20), ended).await.expect("it ends there");
                let counters = speaker.handle().snapshot().trunk;
                // A device that the machine held up restarts in step and leaves out a moment: no fault of any packet's.
                let player = &counters.player;
                assert!(whole || player.restarts > 0, "{summary}: {counters:?}");
                assert_eq!((player.lost, player.late, player.concealed), (0, 0, 0), "{summary}: {counters:?}");
            }
            // Of each rendition every packet, which are cut alike; and some orders and ticks. On a machine that holds its
            // threads up packets seem lost, and the other loudspeaker steps down too, after fifteen at the earliest.
            let (carried, packets) = (received() - before, summary["packets"].as_u64().unwrap());
            assert!(
                (packets + 15..2 * packets + 12).contains(&carried),
                "{carried} packets, {packets} of each rendition"
            );
            for (_, speaker) in speakers {
                stop(speaker).await;
            }
            stop(relay).await;
            origin.stop().await;
        },
    );
}
