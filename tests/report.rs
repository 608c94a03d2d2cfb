//! An origin that sounds itself: what it aired stands in the receipts, in the as-run log and in a report that `loa
//! verify` checks with nothing but the roots.

use loa::config::Config;
use loa::control::serve;
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use serde_json::{Value, json};
use std::io::Cursor;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const CONFIG: &str = "[node]\ndata = \"node\"\n\n[children]\nlisten = \"127.0.0.1:0\"\n\n[sources]\nauthority = \"national\"\n\n\
                      [playout]\ndevice = \"null\"\n\n[api]\nlisten = \"127.0.0.1:0\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n";

fn wav() -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let sample_format = hound::SampleFormat::Int;
    let spec = hound::WavSpec { channels: 1, sample_rate: 16_000, bits_per_sample: 16, sample_format };
    let mut writer = hound::WavWriter::new(&mut out, spec).unwrap();
    for n in 0..40_000u32 {
        let phase = f64::from(n) * 300.0 / 16_000.0 * std::f64::consts::TAU;
        writer.write_sample((phase.sin() * 9_000.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    out.into_inner()
}

fn verify(arguments: &[&Path]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loa"));
    command.arg("verify").arg(arguments[0]).arg("--roots").arg(arguments[1]).env("LC_ALL", "C");
    if let Some(audio) = arguments.get(2) {
        command.arg("--audio").arg(audio);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_aired_is_receipted_logged_and_proven() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = tempfile::tempdir().unwrap();
    let area = "vn".parse().unwrap();
    let node = NewNode { role: Role::Relay, area, name: "origin".into(), authority: Some("national".into()) };
    Root::generate().provision(&folder.path().join("node"), &node).unwrap();
    let config = Config::parse(CONFIG, &folder.path().join("loa.toml")).unwrap();
    let running = serve::start(&config).await.unwrap();
    let token = std::fs::read_to_string(folder.path().join("node/api.token")).unwrap().trim().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}{path}", running.api.unwrap());
    let get = async |path: &str| http.get(url(path)).bearer_auth(&token).send().await.unwrap();

    let upload = http.post(url("/v1/media?name=tin.wav")).bearer_auth(&token).body(wav()).send().await.unwrap();
    let media: Value = upload.json().await.unwrap();
    let form = json!({ "media": media["id"], "areas": ["vn"], "title": "=Bản tin; sáng" });
    let mut aired = Value::Null;
    for _ in 0..100 {
        let answer = http.post(url("/v1/broadcasts")).bearer_auth(&token).json(&form).send().await.unwrap();
        let made = answer.status() == 201;
        aired = answer.json().await.unwrap();
        if made {
            break;
        }
        // The clock and the device come up first.
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let broadcast = aired["id"].as_str().unwrap_or_else(|| panic!("{aired}")).to_owned();
    let mut receipts = Value::Null;
    for _ in 0..200 {
        receipts = get(&format!("/v1/receipts?broadcast={broadcast}")).await.json().await.unwrap();
        if receipts["receipts"][0]["played"] == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let receipt = &receipts["receipts"][0];
    assert_eq!(
        (&receipt["expected"], &receipt["played"], &receipt["kind"]),
        (&json!(1), &json!(1), &json!("broadcast"))
    );
    assert_eq!(receipt["exceptions"], json!([]), "{receipt}");

    let log: Value = get("/v1/as-run?area=vn").await.json().await.unwrap();
    let row = &log["as_run"][0];
    assert_eq!((&row["broadcast"], &row["alike"], &row["nodes"]), (&json!(broadcast), &json!(1), &json!(1)), "{log}");
    assert_eq!(row["sha256"].as_str().unwrap().len(), 64);

    let sheet = get("/v1/receipts?format=csv").await;
    assert!(sheet.headers()["content-type"].to_str().unwrap().starts_with("text/csv"));
    let sheet = sheet.bytes().await.unwrap();
    assert!(sheet.starts_with(b"\xef\xbb\xbf"), "Excel needs the mark");
    assert!(String::from_utf8_lossy(&sheet).contains("\"'=Bản tin; sáng\""), "{}", String::from_utf8_lossy(&sheet));
    assert_eq!(get("/v1/receipts?areas=vn").await.status(), 400);

    let report = get(&format!("/v1/report?broadcast={broadcast}")).await.text().await.unwrap();
    let (bundle, roots) = (folder.path().join("report"), folder.path().join("node/roots"));
    std::fs::write(&bundle, &report).unwrap();
    let (code, text) = verify(&[&bundle, &roots]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("1 orders, 1 lines"), "{text}");
    let kept = folder.path().join("node/media").join(media["id"].as_str().unwrap());
    let frames: Vec<_> = std::fs::read_dir(&kept).unwrap().map(|file| file.unwrap().path()).collect();
    let frames = frames.iter().find(|file| std::fs::read(file).is_ok_and(|bytes| bytes.starts_with(b"LOAF"))).unwrap();
    let (code, text) = verify(&[&bundle, &roots, frames]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains(&broadcast), "the sound at hand is what sounded: {text}");

    std::fs::write(&bundle, report.replacen("Bản", "Bán", 1)).unwrap();
    let (code, text) = verify(&[&bundle, &roots]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("[report.damaged]"), "{text}");
    std::fs::write(&bundle, &report).unwrap();
    let other = folder.path().join("other");
    Root::generate().provision(&other, &node).unwrap();
    let (code, text) = verify(&[&bundle, &other.join("roots")]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("[report.signature]"), "{text}");
    running.stop().await;
}
