//! One HTML page of an outcome: the verdict first, then figures, then plots. It needs nothing but itself.
use crate::found::{Grid, figures, parts, steps, targets};
use crate::outcome::{Event, Outcome, Quantiles, Sample, Step};
use crate::plot::{Axis, Chart, Fit, Form, STYLE, Scale, Series, escape, number};
use crate::summary::held;
use crate::thresholds::{by_listeners, by_tracks, words};
use std::fmt::Write;

pub fn page(outcome: &Outcome) -> String {
    let title = escape(&outcome.profile);
    let mut html = format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>Loa under load: {title}</title>\
         <style>{STYLE}{LAYOUT}</style></head><body><main>\n"
    );
    let _ = writeln!(html, "<header><p class=\"over\">Loa under load</p><h1>{title}</h1>{}</header>", asked(outcome));
    html += &verdict(outcome);
    html += "<section><h2>Figures</h2><div class=\"tables\">";
    html += &table(&figures(outcome));
    html += &parts(outcome).iter().map(|rows| table(rows)).collect::<String>();
    html += "</div>";
    html += &grid(&targets(&outcome.targets));
    html += &grid(&steps(&outcome.steps));
    html += "</section>\n";
    let charts = charts(outcome);
    if !charts.is_empty() {
        html += "<section><h2>Plots</h2><div class=\"plots\">";
        for (_, chart) in &charts {
            let _ = write!(html, "<figure>{}</figure>", chart.inline());
        }
        html += "</div></section>\n";
    }
    html += &events(&outcome.events);
    html += &about(outcome);
    html + "</main></body></html>\n"
}

/// Every plot for which there are data, with the name of its file.
pub fn charts(outcome: &Outcome) -> Vec<(&'static str, Chart)> {
    let mut all = Vec::new();
    if outcome.samples.len() > 1 {
        all.extend(over_time(outcome));
    }
    let steps = &outcome.steps;
    let mut listeners: Vec<&Step> = by_listeners(steps).collect();
    // The first step of the tracks is one of them.
    listeners.sort_by_key(|step| step.listeners);
    let tracks: Vec<&Step> = by_tracks(steps).collect();
    let cpu = |step: &Step| step.cpu_percent;
    let memory = |step: &Step| step.rss_kib as f64 / 1_024.0;
    if listeners.len() > 1 {
        let x = |step: &Step| step.listeners as f64;
        all.push((
            "cpu-by-listeners",
            growth("CPU against listeners", "listeners", "% of one core", &listeners, x, cpu),
        ));
        all.push((
            "memory-by-listeners",
            growth("Memory against listeners", "listeners", "MiB", &listeners, x, memory),
        ));
        let of = |of: fn(&Quantiles) -> f64| listeners.iter().map(|step| (x(step), of(&step.delivery_ms))).collect();
        let series = vec![
            line("p50", of(|delivery| delivery.p50)),
            line("p99", of(|delivery| delivery.p99)),
            line("longest", of(|delivery| delivery.max)),
        ];
        let note = "from the origin's instant to send".to_owned();
        let (x, y) = (axis("listeners", Scale::Linear), axis("ms", Scale::Log));
        all.push((
            "delivery-by-listeners",
            Chart { title: "Delivery delay against listeners".into(), x, y, series, note },
        ));
    }
    if tracks.len() > 1 {
        let x = |step: &Step| step.tracks as f64;
        all.push(("cpu-by-tracks", growth("CPU against tracks", "tracks", "% of one core", &tracks, x, cpu)));
        all.push(("memory-by-tracks", growth("Memory against tracks", "tracks", "MiB", &tracks, x, memory)));
    }
    all
}

fn over_time(outcome: &Outcome) -> Vec<(&'static str, Chart)> {
    let samples = &outcome.samples;
    let of = |of: fn(&Sample) -> f64| samples.iter().map(|sample| (sample.at_s, of(sample))).collect::<Vec<_>>();
    let chart = |title: &str, unit: &str, scale: Scale, note: &str, series: Vec<Series>| Chart {
        title: title.into(),
        x: axis("time", Scale::Time),
        // An axis from 0 to 1 would show tenths of a packet.
        y: Axis { at_least: if scale == Scale::Linear { 7.0 } else { 0.0 }, ..axis(unit, scale) },
        note: note.into(),
        series,
    };
    vec![
        (
            "joined",
            chart(
                "Speakers",
                "speakers",
                Scale::Linear,
                "joined: welcomed by their parent; streaming: a packet of sound came just now",
                vec![
                    line("joined", of(|sample| sample.joined as f64)),
                    line("streaming", of(|sample| sample.streaming as f64)),
                ],
            ),
        ),
        (
            "delivery",
            chart(
                "Delivery delay",
                "ms",
                Scale::Log,
                "of each second's packets, from the origin's instant to send",
                vec![
                    line("p50", of(|sample| sample.delivery_p50_ms)),
                    line("p99", of(|sample| sample.delivery_p99_ms)),
                    line("longest", of(|sample| sample.delivery_max_ms)),
                ],
            ),
        ),
        (
            "cpu",
            chart(
                "CPU",
                "% of one core",
                Scale::Linear,
                &format!("the machine has {} cores, and both share them", outcome.machine.cores),
                vec![
                    line("the tree under test", of(|sample| sample.target_cpu_percent)),
                    line("the load tool", of(|sample| sample.load_cpu_percent)),
                ],
            ),
        ),
        (
            "memory",
            chart(
                "Memory of the tree under test",
                "MiB",
                Scale::Linear,
                "resident, all its processes together",
                vec![line("resident", of(|sample| sample.target_rss_kib as f64 / 1_024.0))],
            ),
        ),
        (
            "packets",
            chart(
                "Packets of sound received",
                "packets per second",
                Scale::Linear,
                "by all speakers together",
                vec![line("received", of(|sample| sample.packets_per_s))],
            ),
        ),
        (
            "lost",
            chart(
                "Packets lost",
                "packets",
                Scale::Linear,
                "since measuring began, by well-behaved speakers",
                vec![line("lost", of(|sample| sample.lost as f64))],
            ),
        ),
    ]
}

fn growth(
    title: &str,
    along: &str,
    unit: &str,
    steps: &[&Step],
    x: impl Fn(&Step) -> f64,
    y: impl Fn(&Step) -> f64,
) -> Chart {
    let points: Vec<_> = steps.iter().map(|step| (x(step), y(step))).collect();
    let mut series = vec![Series { name: "measured".into(), form: Form::Dots, points: points.clone() }];
    let mut note = "too few steps for a line".to_owned();
    if let (Some(fit), Some(last)) = (Fit::of(&points), points.last()) {
        // Below nothing there is nothing.
        let first = if fit.at_zero < 0.0 { -fit.at_zero / fit.slope } else { 0.0 };
        let ends = vec![(first, fit.at(first).max(0.0)), (last.0, fit.at(last.0))];
        let sign = if fit.at_zero < 0.0 { '−' } else { '+' };
        let many = 10f64.powf(last.0.max(1.0).log10().floor()).min(1_000.0);
        let (each, start) = (number(round(fit.slope * many)), number(round(fit.at_zero.abs())));
        let name = format!("{each} for each {many} {along} {sign} {start}");
        series.push(Series { name, form: Form::Fit, points: ends });
        note = format!("R² = {:.4}; farthest off the line: {:.1} % of the largest", fit.r2, fit.off * 100.0);
    }
    Chart { title: title.into(), x: axis(along, Scale::Linear), y: axis(unit, Scale::Linear), series, note }
}

/// To three digits: the rest is noise.
fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let unit = 10f64.powf(value.abs().log10().floor() - 2.0);
    (value / unit).round() * unit
}

fn line(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.into(), form: Form::Line, points }
}

fn axis(label: &str, scale: Scale) -> Axis {
    Axis { label: label.into(), scale, at_least: 0.0 }
}

/// What was asked, in a sentence.
fn asked(outcome: &Outcome) -> String {
    let plural = |count: u64, one: &str| match count {
        1 => format!("1 {one}"),
        _ => format!("{} {one}s", number(count as f64)),
    };
    let mut text = format!("{} on {}", plural(outcome.speakers, "speaker"), plural(outcome.tracks, "track"));
    text += &match outcome.relays {
        0 => " dial an origin".to_owned(),
        relays => format!(" below {}", plural(relays, "relay")),
    };
    if outcome.bitrate > 0 {
        let _ = write!(text, "; {} kb/s, {} ms packets", number(outcome.bitrate as f64 / 1e3), outcome.packet_ms);
    }
    if outcome.together > 1 {
        let _ = write!(text, ", {} in one send", outcome.together);
    }
    format!("<p>{text}.</p><p class=\"soft\">{}</p>", escape(&outcome.started.replace('T', " ")))
}

fn verdict(outcome: &Outcome) -> String {
    let all = &outcome.thresholds;
    let missed = all.iter().filter(|threshold| !threshold.held).count();
    let (class, text) = match (all.len(), missed) {
        _ if outcome.interrupted => {
            ("none", "Interrupted: this is what was found until then, and no verdict".to_owned())
        }
        (0, _) => ("none", "Nothing was asked to hold".to_owned()),
        (1, 0) => ("held", "The threshold held".to_owned()),
        (count, 0) => ("held", format!("All {count} thresholds held")),
        (count, missed) => ("missed", format!("{missed} of {count} thresholds missed")),
    };
    debug_assert!(held(outcome) == (missed == 0));
    let mut html = format!("<section class=\"verdict {class}\"><h2>{text}</h2>");
    if !all.is_empty() {
        html += "<table class=\"wide\"><tr><th></th><th>Threshold</th><th class=\"n\">found</th><th class=\"n\">bound</th>\
                 <th></th></tr>";
        // What was missed is what people look for.
        let mut sorted: Vec<_> = all.iter().collect();
        sorted.sort_by_key(|threshold| threshold.held);
        for one in sorted {
            let (name, unit, least) = words(&one.name);
            let (class, mark) = if one.held { ("held", "✓ held") } else { ("missed", "✗ missed") };
            let found = one.value.map_or("not measured".into(), number);
            let side = if least { "≥" } else { "≤" };
            let _ = write!(
                html,
                "<tr class=\"{class}\"><td class=\"mark\">{mark}</td><td>{name}</td><td class=\"n\"><b>{found}</b></td>\
                 <td class=\"n\">{side} {}</td><td>{unit}</td></tr>",
                number(one.bound)
            );
        }
        html += "</table>";
    }
    html + "</section>\n"
}

fn table(rows: &[(String, String)]) -> String {
    let row =
        |(name, value): &(String, String)| format!("<tr><th>{}</th><td>{}</td></tr>", escape(name), escape(value));
    format!("<table>{}</table>", rows.iter().map(row).collect::<String>())
}

fn grid(grid: &Grid) -> String {
    if grid.rows.is_empty() {
        return String::new();
    }
    let cell = |tag: &str, at: usize, cell: &str| {
        let class = if at >= grid.numbers { " class=\"n\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", escape(cell))
    };
    let head: String = grid.head.iter().enumerate().map(|(at, name)| cell("th", at, name)).collect();
    let row = |row: &Vec<String>| row.iter().enumerate().map(|(at, text)| cell("td", at, text)).collect::<String>();
    let body: String = grid.rows.iter().map(|cells| format!("<tr>{}</tr>", row(cells))).collect();
    format!("<div class=\"scroll\"><table class=\"wide\"><tr>{head}</tr>{body}</table></div>")
}

fn events(events: &[Event]) -> String {
    if events.is_empty() {
        return String::new();
    }
    let row =
        |event: &Event| format!("<tr><td class=\"n\">{:.1} s</td><td>{}</td></tr>", event.at_s, escape(&event.text));
    let (first, rest) = events.split_at(events.len().min(SHOWN));
    let mut rows: String = first.iter().map(row).collect();
    if !rest.is_empty() {
        let _ = write!(rows, "<tr><td></td><td>and {} more, in outcome.json</td></tr>", rest.len());
    }
    format!("<section><h2>What happened</h2><table class=\"events\">{rows}</table></section>\n")
}

fn about(outcome: &Outcome) -> String {
    let machine = &outcome.machine;
    let settings = match outcome.settings.as_str() {
        "" => String::new(),
        settings => {
            format!("<details><summary>The profile as it was run</summary><pre>{}</pre></details>", escape(settings))
        }
    };
    let memory = number((machine.memory_mib as f64 / 1_024.0 * 10.0).round() / 10.0);
    format!(
        "<section><h2>How it was measured</h2>\
         <p>Each speaker is a real session with its own socket, key and certificate. Delivery delay runs from the \
         instant at which a packet's place on its track's timeline gives the origin to send it to its arrival at the \
         speaker; of packets that leave in one send, from the last one's, since the others wait for it by design. A packet is lost if it never came, by whatever way. CPU is user and system time of the processes \
         under test, the kernel's work for their sends in it.</p>\
         <p>Machine: {} cores, {}, {memory} GiB, Linux {}.</p><pre>{}</pre>{settings}</section>\n",
        machine.cores,
        escape(&machine.processor),
        escape(&machine.kernel),
        escape(&outcome.command)
    )
}

/// Events on the page: as many as one reads.
const SHOWN: usize = 100;
const LAYOUT: &str = "\
*{box-sizing:border-box}\
:root{--good:#18794e;--goodbg:#e9f7ef;--bad:#c4282d;--badbg:#fdecec;--box:#f6f7f9}\
@media screen and (prefers-color-scheme:dark){:root{--good:#4cc38a;--goodbg:#12281d;--bad:#ff7b72;--badbg:#351818;--box:#1d2126}}\
body{margin:0;background:var(--paper);color:var(--ink);\
font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
main{max-width:1180px;margin:0 auto;padding:28px 20px 60px}\
h1{font-size:30px;line-height:1.2;margin:0 0 6px}h2{font-size:19px;margin:34px 0 12px}\
p{margin:0 0 8px;max-width:75ch}.over{color:var(--soft);letter-spacing:.06em;text-transform:uppercase;font-size:12.5px;margin:0}\
.soft{color:var(--soft)}\
.verdict{border-left:6px solid var(--soft);background:var(--box);padding:14px 18px 16px;margin-top:22px;border-radius:4px}\
.verdict h2{margin:0 0 8px;font-size:22px}\
.verdict.held{border-color:var(--good);background:var(--goodbg)}.verdict.held h2,.held .mark{color:var(--good)}\
.verdict.missed{border-color:var(--bad);background:var(--badbg)}.verdict.missed h2,.missed .mark{color:var(--bad)}\
.verdict.missed tr.held .mark{color:var(--good)}.mark{font-weight:600;white-space:nowrap}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:5px 12px 5px 0;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--grid)}\
th{font-weight:500;color:var(--soft)}.n{text-align:right;white-space:nowrap}th.n{white-space:normal}\
.wide{margin:6px 0}.verdict td,.verdict th{border-color:color-mix(in srgb,var(--soft) 22%,transparent)}\
.verdict .wide td:nth-child(2){min-width:290px}\
.tables{display:grid;grid-template-columns:repeat(auto-fit,minmax(430px,560px));gap:8px 44px;align-items:start}\
.tables th{white-space:nowrap}.scroll{overflow-x:auto;margin-top:16px}.scroll td,.scroll th{padding-right:20px}\
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,500px),1fr));gap:26px 30px}\
figure{margin:0;break-inside:avoid}svg.plot{width:100%;height:auto;display:block}\
.events td{border:0;padding:2px 14px 2px 0}.events .n{color:var(--soft)}\
pre{background:var(--box);padding:10px 12px;border-radius:4px;overflow-x:auto;font-size:13px}\
@media (max-width:560px){.tables{grid-template-columns:1fr}.tables th{white-space:normal}}\
@media print{main{max-width:none;padding:0}body{font-size:11px}h1{font-size:20px}h2{break-after:avoid}\
.plots{grid-template-columns:1fr 1fr;gap:12px}.verdict{print-color-adjust:exact;-webkit-print-color-adjust:exact}}";

#[cfg(test)]
mod tests;
