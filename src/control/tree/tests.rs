//! The tree as it is drawn, from made-up nodes.
use super::*;

fn node(name: &str, parent: &str, area: &str, state: &str) -> Node {
    let id = |name: &str| Uuid::from_bytes(std::array::from_fn(|at| name.as_bytes().get(at).copied().unwrap_or(0)));
    Node {
        id: id(name),
        name: name.into(),
        area: area.into(),
        role: if name.starts_with("loa") { "speaker" } else { "relay" }.into(),
        parent: (!parent.is_empty()).then(|| id(parent)),
        state: state.into(),
        received: 100,
        ..Node::default()
    }
}

fn country() -> Vec<Node> {
    let mut silent = node("loa-2", "hue", "vn/02/00001", "sounding");
    silent.trouble = vec!["sound.silent".into()];
    silent.rms_dbfs = Some(-100.0);
    let mut lossy = node("loa-1", "hanoi", "vn/01/00001", "sounding");
    (lossy.lost, lossy.offset_us, lossy.sounding) = (25, -31, Some(Uuid::from_u128(9)));
    let mut lost = node("hue", "origin", "vn/02", "lost");
    lost.lost = 5;
    vec![silent, node("origin", "", "vn", "idle"), lossy, lost, node("hanoi", "origin", "vn/01", "idle")]
}

fn drawn(nodes: &[Node], view: &View) -> String {
    let titles = [(Uuid::from_u128(9), "Bản tin".to_owned())].into();
    draw(nodes, &titles, view, Language::English).unwrap().text(false, None, Language::English)
}

#[test]
fn parents_are_branches_and_what_is_wrong_stands_in_its_line() {
    let text = drawn(&country(), &View::default());
    let expected = "\
2 of 2 loudspeakers heard of, 2 (1 in trouble) sound; 2 of 3 relays heard of; lost 11.11 %
node          area         state                  heard  lost          offset µs  level dB  what sounds
origin        vn           idle sound.silent      2/2    25 (11.11 %)        -31         -  -
├─ hanoi      vn/01        idle                   1/1    25 (20.00 %)        -31         -  -
│  └─ loa-1   vn/01/00001  sounding               -      25 (20.00 %)        -31         -  Bản tin
└─ hue        vn/02        lost sound.silent      1/1    0                     0         -  -
   └─ loa-2   vn/02/00001  sounding sound.silent  -      0                     0    -100.0  -
";
    let plain =
        |text: &str| text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>();
    assert_eq!(plain(&text), plain(expected), "\n{text}");
    // Numbers stand under each other, whatever stands before them.
    let end = |line: &str| line.chars().take_while(|c| *c != '-').count();
    assert!(text.lines().skip(2).all(|line| end(line) > 0));
}

#[test]
fn a_loudspeaker_that_somebody_has_muted_says_until_when() {
    let mut muted = node("loa-1", "", "vn/01/00001", "sounding");
    muted.muted_until = Some("2026-11-23T14:30:12.250000+07:00".into());
    assert!(drawn(&[muted.clone()], &View::default()).contains("sounding muted until 14:30  "));
    muted.muted_until = Some("9223372036854775807 µs".into());
    assert_eq!(muted.muted_clock(), None);
}

#[test]
fn colours_tell_good_from_bad_and_are_for_terminals_alone() {
    let picture = draw(&country(), &BTreeMap::new(), &View::default(), Language::English).unwrap();
    let text = picture.text(true, None, Language::English);
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap();
    assert!(line("loa-1").starts_with("\x1b[32m") && line("loa-1").ends_with("\x1b[0m"), "{text:?}");
    assert!(line("hue").starts_with("\x1b[31m") && line("loa-2").starts_with("\x1b[31m"));
    assert!(!picture.text(false, None, Language::English).contains('\x1b'));
}

#[test]
fn many_speakers_of_one_parent_are_summed_up_by_area() {
    let mut nodes = vec![node("origin", "", "vn", "idle"), node("hanoi", "origin", "vn/01", "idle")];
    for at in 0..40 {
        let (area, state) =
            (if at < 30 { "vn/01/00001" } else { "vn/01/00002" }, if at == 35 { "lost" } else { "idle" });
        nodes.push(node(&format!("loa-{at:03}"), "hanoi", area, state));
    }
    let text = drawn(&nodes, &View::default());
    assert_eq!(text.lines().count(), 2 + 2 + 2, "{text}");
    assert!(text.contains("30 speakers") && text.contains("9/10") && text.contains("39/40"), "{text}");
    // One area is looked at: each of its speakers, and the way there.
    let one = drawn(&nodes, &View { area: Some("vn/01/00002".parse().unwrap()), depth: None });
    assert_eq!(one.lines().count(), 2 + 2 + 10, "{one}");
    assert!(one.contains("loa-035") && !one.contains("loa-029") && one.contains("9/10"), "{one}");
    let flat = drawn(&nodes, &View { area: None, depth: Some(1) });
    assert_eq!(flat.lines().count(), 2 + 2, "{flat}");
    assert!(flat.contains("39/40"), "what is not shown is still counted: {flat}");
}

#[test]
fn of_many_areas_the_troubled_ones_come_first() {
    let mut nodes = vec![node("origin", "", "vn", "idle")];
    for at in 0..60 {
        let state = if at == 59 { "lost" } else { "idle" };
        nodes.push(node(&format!("loa-{at:03}"), "origin", &format!("vn/{at:02}"), state));
    }
    let text = drawn(&nodes, &View::default());
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3 + AREAS + 1, "{text}");
    assert!(lines[3].contains("vn/59") && lines[3 + AREAS].contains("36 more areas"), "{text}");
}

#[test]
fn an_area_where_nobody_stands_is_named_with_some_that_are_known() {
    let view = View { area: Some("vn/09".parse().unwrap()), depth: None };
    let failure = draw(&country(), &BTreeMap::new(), &view, Language::English).unwrap_err();
    assert_eq!(failure.code, "area.unknown");
    assert!(failure.to_string().contains("vn/09") && failure.to_string().contains("vn/01"), "{failure}");
}

#[test]
fn a_picture_fits_its_terminal_in_both_languages() {
    for language in [Language::English, Language::Vietnamese] {
        let picture = draw(&country(), &BTreeMap::new(), &View::default(), language).unwrap();
        let text = picture.text(true, Some((4, 30)), language);
        assert_eq!(text.lines().count(), 4, "{text}");
        assert!(text.lines().all(|line| console::measure_text_width(line) <= 30), "{text}");
        assert!(text.lines().last().unwrap().contains("4"), "{text}");
        assert_eq!(picture.text(false, Some((7, 300)), language).lines().count(), 7);
    }
}

#[test]
fn names_from_afar_cannot_steer_the_terminal() {
    let text = drawn(&[node("or\x1b[2Jig\nin", "", "vn", "no\x07state")], &View::default());
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
}
