//! What a configuration may say.
use super::*;

const SPEAKER: &str = "[node]\ndata = \"d\"\n[parent]\naddresses = [\"localhost:7460\"]\n";

fn refused(text: &str) -> Error {
    Config::parse(text, Path::new("etc/loa.toml")).unwrap_err()
}

#[test]
fn a_whole_configuration_is_read_and_its_paths_are_anchored_at_the_file() {
    let text = format!("{SPEAKER}[playout]\ndevice = \"wav:out/a.wav\"\nrate_error_ppm = -12.5\n");
    let config = Config::parse(&text, Path::new("/etc/loa/node.toml")).unwrap();
    assert_eq!(config.node.data, Path::new("/etc/loa/d"));
    assert_eq!(config.playout.unwrap().device, "wav:/etc/loa/out/a.wav");
    assert_eq!(config.parent.unwrap().shards, 1);
    assert_eq!(config.admin.listen.port(), 9460);
}

#[test]
fn an_unknown_field_is_named_with_its_place_and_the_nearest_known_one() {
    let error = refused("[node]\ndata = \"d\"\n[children]\n  shard = 2\n");
    assert_eq!(error.code, "config.unknown_field");
    assert_eq!(error.text, "etc/loa.toml:4:3: unknown field shard; did you mean shards?");
    let error = refused("[node]\ndata = \"d\"\n[speakers]\n");
    assert!(error.text.starts_with("etc/loa.toml:3:2: unknown section [speakers]; known are: [node], "), "{error}");
}

#[test]
fn a_wrong_type_is_named_with_its_field() {
    let error = refused("[node]\ndata = \"d\"\n[sources]\nauthority = \"a\"\nbitrate = \"24k\"\n");
    assert!(error.text.starts_with("etc/loa.toml:5:11: sources.bitrate: invalid type: string"), "{error}");
}

#[test]
fn a_missing_field_and_broken_syntax_are_named_with_their_line() {
    let error = refused("[node]\n");
    assert_eq!(error.mistakes[0].english(), "etc/loa.toml:1:1: [node]: the field data is missing; add it");
    assert!(refused("[node]\ndata = d\n").text.starts_with("etc/loa.toml:2:"), "{}", refused("[node]\ndata = d\n"));
    assert!(refused("").text.contains("missing"), "{}", refused(""));
}

#[test]
fn values_out_of_range_are_refused_where_they_stand() {
    for (extra, place) in [
        ("[sources]\nauthority = \"a\"\nbitrate = 24\n", "7:1: sources.bitrate"),
        ("[sources]\nauthority = \"../a\"\n", "6:1: sources.authority"),
        ("[sources]\nauthority = \"a\"\nbitrates = [24000, 9]\n", "7:1: sources.bitrates"),
        ("[sources]\nauthority = \"a\"\nbitrates = []\n", "7:12: sources.bitrates"),
        ("[sources]\nauthority = \"a\"\nbitrates = [24000, 16000, 24000]\n", "7:1: sources.bitrates"),
        ("[sources]\nauthority = \"a\"\nbitrates = [16000]\nbitrate = 24000\n", "8:1: sources.bitrate"),
        ("[sources]\nauthority = \"a\"\ncomplexity = 11\n", "7:1: sources.complexity"),
        ("[sources]\nauthority = \"a\"\nloudness = 3.0\n", "7:1: sources.loudness"),
        ("[sources]\nauthority = \"a\"\npeak = nan\n", "7:1: sources.peak"),
        ("[sources]\nauthority = \"a\"\nsilence_ms = -2\n", "7:1: sources.silence_ms"),
        ("[sources]\nauthority = \"a\"\ndecoder = \"\"\n", "7:1: sources.decoder"),
        ("[children]\nshards = 0\n", "6:1: children.shards"),
        ("[children]\nlisten = \"0.0.0.0:65535\"\nshards = 2\n", "6:1: children.listen"),
        ("bitrate = 5999\n", "5:1: parent.bitrate"),
        ("bitrate = 64001\n", "5:1: parent.bitrate"),
        ("data_mib_per_day = 0\n", "5:1: parent.data_mib_per_day"),
        ("data_mib_per_day = 1048577\n", "5:1: parent.data_mib_per_day"),
        ("multicast = \"232.7.4.60:7470\"\n", "5:13: parent.multicast"),
        ("both = 1\n", "5:8: parent.both"),
        ("[children]\nbeats_per_second = 9\n", "6:1: children.beats_per_second"),
        ("[children]\nsiblings = [\"relay:7460\", \"relay\"]\n", "6:1: children.siblings"),
        ("[children]\nshards = 2\nsiblings = [\"relay:65535\"]\n", "7:1: children.siblings"),
        (
            "[children]\nsiblings = [\"a:1\", \"b:1\", \"c:1\", \"d:1\", \"e:1\", \"f:1\", \"g:1\", \"h:1\", \"i:1\"]\n",
            "6:1: children.siblings",
        ),
        ("[children]\nmulticast = \"232.0.0.1:7470\"\n", "6:1: children.multicast"),
        ("[children]\nmulticast = \"239.1.1.1:7470\"\n", "6:1: children.multicast"),
        ("[children]\nmulticast = \"232.7.4.60:0\"\n", "6:1: children.multicast"),
        ("[children]\nmulticast = \"232.7.4.60\"\n", "6:13: children.multicast"),
        ("[children]\nmulticast = \"[ff35::8000:1]:7470\"\n", "6:1: children.multicast"),
        ("[children]\nmulticast = \"232.7.4.60:65535\"\nshards = 2\n", "6:1: children.multicast"),
        ("[children]\ninterface = \"eth0\"\n", "6:1: children.interface"),
        ("[playout]\ndevice = \"alsa\"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"alsa:\"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"pipe: \"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"pipe:a\\u0000b\"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"null:\"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"oss:/dev/dsp\"\n", "6:1: playout.device"),
        ("[playout]\ndevice = \"pipe:cat\"\nrate_error_ppm = 1.0\n", "7:1: playout.rate_error_ppm"),
        ("[playout]\ndevice = \"null\"\nrate_error_ppm = 1e9\n", "7:1: playout.rate_error_ppm"),
        ("[playout]\ndevice = \"null\"\nrate_error_ppm = nan\n", "7:1: playout.rate_error_ppm"),
        ("[playout]\ndevice = \"null\"\nnormal_db = 0.1\n", "7:1: playout.normal_db"),
        ("[playout]\ndevice = \"null\"\npriority_db = -30.1\n", "7:1: playout.priority_db"),
        ("[playout]\ndevice = \"null\"\nemergency_floor_db = -6.1\n", "7:1: playout.emergency_floor_db"),
        ("[playout]\ndevice = \"null\"\nemergency_floor_db = nan\n", "7:1: playout.emergency_floor_db"),
        ("[playout]\ndevice = \"null\"\nemergency_db = -7.0\n", "7:1: playout.emergency_db"),
        ("[playout]\ndevice = \"null\"\nmute_switch = \"\"\n", "7:1: playout.mute_switch"),
        (
            "[playout]\ndevice = \"null\"\nhours = [{ from = \"24:00\", until = \"06:00\", most_db = -1.0 }]\n",
            "7:1: playout.hours",
        ),
        (
            "[playout]\ndevice = \"null\"\nhours = [{ from = \"1:00\", until = \"06:00\", most_db = -1.0 }]\n",
            "7:1: playout.hours",
        ),
        (
            "[playout]\ndevice = \"null\"\nhours = [{ from = \"21:00\", until = \"06:00\", most_db = 3.0 }]\n",
            "7:1: playout.hours",
        ),
        ("[admin]\nlisten = \"0.0.0.0:9460\"\n", "6:1: admin.listen"),
        ("[api]\n", "5:1: [api]"),
    ] {
        let error = refused(&format!("{SPEAKER}{extra}"));
        assert!(error.text.starts_with(&format!("etc/loa.toml:{place}: ")), "{error}");
    }
}

#[test]
fn a_limit_by_the_hour_that_lacks_or_has_too_much_is_told_where_it_stands() {
    for (limit, code) in [
        ("{ from = \"21:00\", until = \"06:00\", most_db = -1.0, least_db = 2 }", "config.unknown_field"),
        ("{ from = \"21:00\", until = \"06:00\" }", "config.invalid"),
        ("{ from = 21, until = \"06:00\", most_db = -1.0 }", "config.type"),
        ("\"21:00-06:00\"", "config.type"),
    ] {
        let told = refused(&format!("{SPEAKER}[playout]\ndevice = \"null\"\nhours = [{limit}]\n")).mistakes;
        assert!(told.len() == 1 && told[0].code == code && told[0].line == 7, "{limit}: {told:?}");
    }
}

#[test]
fn every_mistake_is_told_at_once_in_the_order_of_the_file() {
    let text = "[node]\nzone = \"Asia/Saigoon\"\nname = \"x\"\n[parent]\naddresses = [\"relay\", \":1\"]\nshards = 0\n[children]\n\
                listen = \"0.0.0.0\"\nshard = 2\n[playout]\ndevice = 5\nrate_error_ppm = \"fast\"\n[speaker]\n[admin]\n\
                listen = \"0.0.0.0:9460\"\n[log]\nlevel = \"loa=loud\"\n";
    let told = refused(text).mistakes;
    let short: Vec<String> =
        told.iter().map(|one| format!("{}:{} {} {}", one.line, one.column, one.field, one.code)).collect();
    assert_eq!(
        short,
        [
            "1:1 [node] config.missing_field",
            "2:8 node.zone config.invalid",
            "3:1 node.name config.unknown_field",
            "5:1 parent.addresses config.invalid",
            "5:1 parent.addresses config.invalid",
            "6:1 parent.shards config.range",
            "8:10 children.listen config.invalid",
            "9:1 children.shard config.unknown_field",
            "11:10 playout.device config.type",
            "12:18 playout.rate_error_ppm config.type",
            "13:2 speaker config.unknown_field",
            "15:1 admin.listen config.invalid",
            "17:1 log.level config.invalid",
        ]
    );
    for one in told {
        assert_ne!(one.said.english, one.said.vietnamese, "{}", one.english());
        assert!(one.vietnamese().starts_with("etc/loa.toml:"), "{}", one.vietnamese());
    }
}

#[test]
fn nothing_is_concluded_from_what_was_refused() {
    for (text, alone) in [
        // The interface is for the group that is written wrong.
        ("[children]\nmulticast = \"x\"\ninterface = \"eth0\"\n", "children.multicast"),
        // The misspelt section may be what the node does.
        ("[sourcs]\nauthority = \"a\"\n", "sourcs"),
        ("[children]\nshards = \"two\"\n", "children.shards"),
        // Its stand-in is no device that has a rate error.
        ("[playout]\ndevice = [\"alsa:x\"]\nrate_error_ppm = 2.0\n[children]\n", "playout.device"),
    ] {
        let told = refused(&format!("[node]\ndata = \"d\"\n{text}")).mistakes;
        let fields: Vec<&str> = told.iter().map(|one| one.field.as_str()).collect();
        // Sound needs a parent, which is not there in the last of them, and says so besides.
        let fields: Vec<&str> = fields.into_iter().filter(|field| *field != "[playout]").collect();
        assert_eq!(fields, [alone], "{text}");
    }
}

#[test]
fn a_misspelt_section_is_read_as_what_it_was_meant_as_and_hides_no_other_mistake() {
    let told =
        refused("[nod]\ndata = 5\n[parnet]\naddresses = [\"relay\"]\nshard = 1\n[api]\n[playout]\ndevice = \"x\"\n");
    let short: Vec<String> =
        told.mistakes.iter().map(|one| format!("{} {} {}", one.line, one.field, one.code)).collect();
    assert_eq!(
        short,
        [
            "1 nod config.unknown_field",
            "2 node.data config.type",
            "3 parnet config.unknown_field",
            "4 parent.addresses config.invalid",
            "5 parent.shard config.unknown_field",
            "6 [api] config.conflict",
            "8 playout.device config.invalid",
        ]
    );
    assert!(told.text.starts_with("etc/loa.toml:1:2: unknown section [nod]; did you mean [node]?"), "{told}");
    let vietnamese = told.mistakes[0].vietnamese();
    assert!(vietnamese.contains("không có mục [nod]; có phải là [node]?"), "{vietnamese}");
    // Beside the one that it was meant as it is only told of.
    let told = refused("[node]\ndata = \"d\"\n[nodes]\ndata = 5\n[children]\nshards = 0\n").mistakes;
    assert_eq!(told.iter().map(|one| one.line).collect::<Vec<_>>(), [3, 6], "{told:#?}");
}

#[test]
fn a_sound_card_that_this_build_lacks_is_one_mistake_and_hides_nothing_from_whoever_looks_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loa.toml");
    std::fs::write(&file, format!("{SPEAKER}[playout]\ndevice = \"alsa:plughw:0,0\"\n")).unwrap();
    let (config, unbuilt) = Config::survey(&file).unwrap();
    assert_eq!(config.playout.unwrap().device, "alsa:plughw:0,0");
    let codes: Vec<&str> = unbuilt.iter().map(|one| one.code).collect();
    assert_eq!(codes, if cfg!(feature = "sound") { vec![] } else { vec!["config.no_sound"] });
    // With another mistake it is no configuration.
    std::fs::write(&file, format!("{SPEAKER}shards = 0\n[playout]\ndevice = \"alsa:plughw:0,0\"\n")).unwrap();
    assert_eq!(Config::survey(&file).unwrap_err().code, "config.range");
}

#[test]
fn a_word_that_is_no_log_level_is_a_mistake() {
    // What names the fields of a span is an expression, and is refused before it is built.
    let costly = format!("[{{a={}}}]=info", "(.|a|\u{3b1}){40}".repeat(12));
    for (level, right) in [
        ("debug", true),
        ("info,loa::io=debug", true),
        ("warm", false),
        ("info,lout", false),
        ("[request]=debug", false),
        ("[request{area=vn}]=debug", false),
        (costly.as_str(), false),
    ] {
        let read = Config::parse(&format!("{SPEAKER}[log]\nlevel = \"{level}\"\n"), Path::new("etc/loa.toml"));
        assert_eq!(read.is_ok(), right, "{level}");
        if let Err(error) = read {
            assert!(error.text.starts_with("etc/loa.toml:6:1: log.level: must be error, warn"), "{error}");
        }
    }
}

#[test]
fn broken_syntax_hides_no_other_mistake() {
    let told = refused("[node]\ndata = d\n[children]\nshards = 0\nshard = 1\n[parent\n").mistakes;
    let codes: Vec<(usize, &str)> = told.iter().map(|one| (one.line, one.code)).collect();
    assert!(codes.contains(&(2, "config.syntax")) && codes.contains(&(6, "config.syntax")), "{codes:?}");
    assert!(codes.contains(&(4, "config.range")) && codes.contains(&(5, "config.unknown_field")), "{codes:?}");
    assert!(!codes.iter().any(|(_, code)| *code == "config.missing_field"), "{codes:?}");
}

#[test]
fn a_required_field_that_is_missing_hides_no_other_mistake() {
    let whole = "[node]\ndata = \"d\"\n[enrol]\nticket = \"00\"\n[parent]\naddresses = [\"a:1\"]\n[sources]\nauthority = \"a\"\n[playout]\ndevice = \"null\"\n";
    let telemetry = if cfg!(feature = "otel") { "[telemetry]\notlp = \"http://a:1\"\n" } else { "" };
    let whole = &format!("{whole}{telemetry}");
    Config::parse(whole, Path::new("f")).unwrap();
    for (field, _) in read::STAND_INS.iter().filter(|(field, _)| *field != "telemetry.otlp" || cfg!(feature = "otel")) {
        let lacking = match field.split_once('.') {
            Some((_, key)) => whole.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>().join("\n"),
            None => whole.lines().skip(2).collect::<Vec<_>>().join("\n"),
        };
        let told = refused(&format!("{lacking}\n[admin]\nlisten = 5\n[log]\nlevel = \"loa=loud\"\n")).mistakes;
        let codes: Vec<&str> = told.iter().map(|one| one.code).collect();
        assert_eq!(codes.len(), 3, "{field}: {told:#?}");
        assert!(codes.contains(&"config.missing_field") && codes.contains(&"config.type"), "{field}: {codes:?}");
    }
}

#[test]
fn a_file_of_nothing_but_mistakes_is_told_of_in_part() {
    let text: String = (0..10_000).map(|number| format!("a{number} = 1\n")).collect();
    assert_eq!(refused(&text).mistakes.len(), read::MOST);
}

#[test]
fn one_bitrate_several_and_none_are_all_renditions() {
    for (said, meant) in
        [("", vec![24_000]), ("bitrate = 32000\n", vec![32_000]), ("bitrates = [24000, 16000]\n", vec![24_000, 16_000])]
    {
        let text = format!("{SPEAKER}[sources]\nauthority = \"a\"\n{said}");
        let sources = Config::parse(&text, Path::new("f")).unwrap().sources.unwrap();
        assert_eq!(sources.bitrates, meant);
        assert_eq!((sources.complexity, sources.silence_ms, sources.decoder), (10, 500, None));
    }
}

#[test]
fn a_child_may_wish_for_less_and_a_parent_have_a_group() {
    let text = format!(
        "{SPEAKER}bitrate = 16000\ndata_mib_per_day = 50\nmulticast = false\n[children]\nlisten = \"[::]:7460\"\nmulticast = \"[ff35::8000:1]:7470\"\ninterface = \"eth0\"\n"
    );
    let config = Config::parse(&text, Path::new("f")).unwrap();
    let (parent, children) = (config.parent.unwrap(), config.children.unwrap());
    assert_eq!((parent.bitrate, parent.data_mib_per_day, parent.multicast), (Some(16_000), Some(50), false));
    assert_eq!(children.multicast.map(|group| group.port()), Some(7_470));
    assert_eq!(children.interface.as_deref(), Some("eth0"));
    let config = Config::parse(SPEAKER, Path::new("f")).unwrap();
    let parent = config.parent.unwrap();
    assert_eq!((parent.bitrate, parent.data_mib_per_day, parent.multicast), (None, None, true));
}

#[test]
fn the_examples_are_read_as_they_stand_and_with_everything_that_they_only_mention() {
    for (name, text) in [
        ("config/origin.toml", include_str!("../../config/origin.toml")),
        ("config/relay.toml", include_str!("../../config/relay.toml")),
        ("config/speaker.toml", include_str!("../../config/speaker.toml")),
    ] {
        let file = Path::new(name);
        Config::parse(text, file).unwrap_or_else(|error| panic!("{error}"));
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        // A section that this build cannot have stays a mention, with its fields.
        let mut had = true;
        let mut mentioned = |line: &str| {
            let said = line.strip_prefix("# ")?;
            if let Some(section) = said.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                had = section != "telemetry" || cfg!(feature = "otel");
                return had.then(|| said.to_owned());
            }
            let (name, _) = said.split_once(" = ")?;
            (had && is_name(name)).then(|| said.to_owned())
        };
        let all: Vec<String> = text.lines().map(|line| mentioned(line).unwrap_or_else(|| line.to_owned())).collect();
        assert_ne!(all.join("\n"), text.trim_end(), "{name} mentions something");
        Config::parse(&all.join("\n"), file).unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn a_command_is_taken_as_it_stands_and_runs_in_the_files_folder() {
    let text = format!("{SPEAKER}[playout]\ndevice = \"pipe:aplay -t raw | tee a:b\"\n");
    let playout = Config::parse(&text, Path::new("/etc/loa/node.toml")).unwrap().playout.unwrap();
    assert_eq!(playout.device, "pipe:aplay -t raw | tee a:b");
    assert_eq!(playout.folder, Path::new("/etc/loa/."));
    let playout = Config::parse(&text, Path::new("node.toml")).unwrap().playout.unwrap();
    assert_eq!(playout.folder, Path::new("."));
}

#[test]
fn a_sound_card_is_taken_where_sound_cards_are_built_in_and_refused_with_the_mend_where_not() {
    let text = format!("{SPEAKER}[playout]\ndevice = \"alsa:plughw:0,0\"\n");
    match Config::parse(&text, Path::new("etc/loa.toml")) {
        Ok(config) => assert!(cfg!(feature = "sound") && config.playout.unwrap().device == "alsa:plughw:0,0"),
        Err(error) => assert_eq!(error.text, format!("etc/loa.toml:6:1: playout.device: {WITHOUT_SOUND}")),
    }
}

#[test]
fn telemetry_is_taken_where_it_is_built_in_and_refused_with_the_mend_where_not() {
    let text = format!("{SPEAKER}[telemetry]\notlp = \"http://127.0.0.1:4318\"\n");
    match Config::parse(&text, Path::new("etc/loa.toml")) {
        Ok(config) => assert!(cfg!(feature = "otel") && config.telemetry.unwrap().level.is_none()),
        Err(error) => {
            assert_eq!(error.text, format!("etc/loa.toml:5:1: [telemetry]: {WITHOUT_TELEMETRY}"));
            assert_eq!((error.code, cfg!(feature = "otel")), ("config.no_telemetry", false));
        }
    }
}

#[cfg(feature = "otel")]
#[test]
fn a_collector_is_named_by_host_and_port_and_by_nothing_that_is_a_secret() {
    let told = |otlp: &str| {
        let text = format!("{SPEAKER}[telemetry]\notlp = {otlp:?}\n");
        Config::parse(&text, Path::new("etc/loa.toml")).map_err(|error| error.text)
    };
    for right in ["http://127.0.0.1:4318", "http://[::1]:4318/", "http://otel.example.vn:80/loa/otlp"] {
        assert!(told(right).is_ok(), "{right}");
    }
    for wrong in [
        "",
        "127.0.0.1:4318",
        "https://otel.example.vn:4318",
        "http://",
        "http://otel.example.vn",
        "http://otel.example.vn:0",
        "http://user@otel.example.vn:4318",
        "http://user:word@otel.example.vn:4318",
        "http://otel.example.vn:4318/?key=1",
        "http://otel.example.vn:4318/#a",
        "http://otel example.vn:4318",
        "http://otel.example.vn:4318/\n",
    ] {
        let text = told(wrong).unwrap_err();
        assert!(text.starts_with("etc/loa.toml:6:1: telemetry.otlp: must be http://HOST:PORT"), "{wrong:?}: {text}");
    }
    let text = format!("{SPEAKER}[telemetry]\notlp = \"http://a:1\"\nlevel = \"loa=loud\"\n");
    assert!(refused(&text).text.starts_with("etc/loa.toml:7:1: telemetry.level: "));
}

#[test]
fn a_parent_address_must_have_a_host_and_a_port() {
    for address in ["relay", "relay:", ":7460", "relay:0", "relay:99999", "::1:7460"] {
        let error = refused(&format!("[node]\ndata = \"d\"\n[parent]\naddresses = [\"{address}\"]\n"));
        assert!(error.text.contains("parent.addresses") && error.text.contains(address), "{error}");
    }
    let six = SPEAKER.replace("localhost:7460", "[::1]:7460");
    assert!(Config::parse(&six, Path::new("f")).is_ok());
}

#[test]
fn a_node_that_could_do_nothing_is_refused() {
    assert!(refused("[node]\ndata = \"d\"\n").text.contains("do nothing"));
    assert!(refused("[node]\ndata = \"d\"\n[playout]\ndevice = \"null\"\n").text.contains("[playout]"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nowhere/loa.toml")).unwrap_err();
    assert_eq!(error.code, "config.unreadable");
    assert!(error.text.starts_with("/nowhere/loa.toml: "), "{error}");
}

proptest::proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(\\[[a-z]{0,8}\\]|[a-z_]{0,9} ?= ?[\"0-9a-zé:.]{0,9}|\n| ){0,12}") {
        let _ = Config::parse(&text, Path::new("f"));
    }

    /// Whole examples with a stretch of them taken out, or something else put in.
    #[test]
    fn no_damage_to_an_example_makes_the_reader_panic_and_every_mistake_has_its_place(
        example in 0..3usize, from in 0..4_000usize, length in 0..200usize, put in "[\\[\\]\"=.#a-z0-9\n é-]{0,12}",
    ) {
        let text = [include_str!("../../config/origin.toml"), include_str!("../../config/relay.toml"),
            include_str!("../../config/speaker.toml")][example];
        let letters: Vec<char> = text.chars().collect();
        let from = from % letters.len();
        let until = (from + length).min(letters.len());
        let text: String = letters[..from].iter().copied().chain(put.chars()).chain(letters[until..].iter().copied()).collect();
        if let Err(error) = Config::parse(&text, Path::new("f")) {
            proptest::prop_assert!(!error.mistakes.is_empty());
            for one in &error.mistakes {
                let line = text.split('\n').nth(one.line - 1);
                proptest::prop_assert!(line.is_some_and(|line| one.column <= line.chars().count() + 1), "{}", one.english());
            }
        }
    }
}

#[test]
fn a_clock_is_trusted_with_a_stated_error_and_a_timetable_needs_a_voice_and_an_ear() {
    let clock = |text: &str| format!("{SPEAKER}[clock]\n{text}\n");
    let parsed = |text: &str| Config::parse(text, Path::new("etc/loa.toml"));
    assert_eq!(parsed(SPEAKER).unwrap().clock.error(), None);
    assert_eq!(parsed(&clock("trusted = \"rtc\"\nerror_ms = 2000")).unwrap().clock.error(), Some(2_000_000));
    assert_eq!(parsed(&clock("trusted = \"gnss\"")).unwrap().clock.error(), Some(10_000));
    for wrong in ["trusted = \"rtc\"", "error_ms = 5", "trusted = \"ntp\"\nerror_ms = 0", "trusted = \"sundial\""] {
        assert_eq!(parsed(&clock(wrong)).unwrap_err().mistakes.len(), 1, "{wrong}");
    }
    let owner = "[node]\ndata = \"d\"\n[sources]\nauthority = \"a\"\n[api]\n[children]\n[timetable]\n";
    let config =
        parsed(&format!("{owner}entries = \"e.json\"\n[timetable.streams]\nvov1 = \"pipe:receiver\"\n")).unwrap();
    assert_eq!((config.timetable.hours, config.timetable.entries), (96, Some("etc/e.json".into())));
    for wrong in [
        "hours = 71",
        "hours = 337",
        "[timetable.streams]\nvov1 = \"https://a/b\"",
        "[timetable.streams]\nvov1 = \"pipe: \"",
    ] {
        assert_eq!(parsed(&format!("{owner}{wrong}\n")).unwrap_err().mistakes.len(), 1, "{wrong}");
    }
    let deaf = parsed(&format!("{SPEAKER}[timetable]\nentries = \"e.json\"\n")).unwrap_err();
    assert_eq!((deaf.code, deaf.mistakes.len()), ("config.conflict", 1));
}
