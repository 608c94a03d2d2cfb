//! Plots as SVG, made here: axes with round ticks and units, a legend, light and dark.
use std::fmt::Write;

#[derive(Clone, Debug, Default)]
pub struct Chart {
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub series: Vec<Series>,
    /// Said below the title.
    pub note: String,
}

#[derive(Clone, Debug, Default)]
pub struct Axis {
    pub label: String,
    pub scale: Scale,
    /// To be on the axis whatever the data are.
    pub at_least: f64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Scale {
    /// From 0.
    #[default]
    Linear,
    /// What is not above 0 is left out.
    Log,
    /// Seconds, in minutes or hours where they are many.
    Time,
}

#[derive(Clone, Debug)]
pub struct Series {
    pub name: String,
    pub form: Form,
    /// x rises.
    pub points: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Form {
    Line,
    Dots,
    /// Dashed, in the colour of the series before it.
    Fit,
}

/// The straight line nearest to some points, by least squares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Fit {
    pub slope: f64,
    pub at_zero: f64,
    /// 1: all lie on it.
    pub r2: f64,
    /// The largest distance from it, as a share of the largest value.
    pub off: f64,
}

impl Fit {
    /// Needs three points of different x: a line passes through any two.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let count = points.len() as f64;
        if points.len() < 3 {
            return None;
        }
        let mean_x = points.iter().map(|point| point.0).sum::<f64>() / count;
        let mean_y = points.iter().map(|point| point.1).sum::<f64>() / count;
        let spread: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
        if spread <= 0.0 {
            return None;
        }
        let slope = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum::<f64>() / spread;
        let at_zero = mean_y - slope * mean_x;
        let rest = |point: &(f64, f64)| point.1 - (at_zero + slope * point.0);
        let left: f64 = points.iter().map(|point| rest(point).powi(2)).sum();
        let all: f64 = points.iter().map(|(_, y)| (y - mean_y).powi(2)).sum();
        let r2 = if all > 0.0 { 1.0 - left / all } else { 1.0 };
        let largest = points.iter().map(|point| point.1.abs()).fold(0.0, f64::max);
        let farthest = points.iter().map(|point| rest(point).abs()).fold(0.0, f64::max);
        Some(Self { slope, at_zero, r2, off: if largest > 0.0 { farthest / largest } else { 0.0 } })
    }

    pub fn at(&self, x: f64) -> f64 {
        self.at_zero + self.slope * x
    }
}

impl Chart {
    /// With its own colours: a file by itself.
    pub fn file(&self) -> String {
        let style = format!("{STYLE}svg{{background:var(--paper)}}");
        self.draw(&format!("<style>{style}</style>"), " xmlns=\"http://www.w3.org/2000/svg\"")
    }

    /// For a page that has [`STYLE`].
    pub fn inline(&self) -> String {
        self.draw("", "")
    }

    fn draw(&self, style: &str, space: &str) -> String {
        let (x, y) = (self.range(&self.x, |point| point.0), self.range(&self.y, |point| point.1));
        let mut svg = format!(
            "<svg{space} class=\"plot\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">{style}",
            escape(&self.title)
        );
        let _ = write!(svg, "<text class=\"title\" x=\"{LEFT}\" y=\"20\">{}</text>", escape(&self.title));
        let _ = write!(svg, "<text class=\"label\" x=\"{LEFT}\" y=\"38\">{}</text>", escape(&self.note));
        self.legend(&mut svg);
        let place_x = |value: f64| LEFT + x.share(value) * (WIDTH - LEFT - RIGHT);
        let place_y = |value: f64| HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
        for (value, name) in y.ticks(6) {
            let at = place_y(value);
            let _ = write!(svg, "<path class=\"grid\" d=\"M{LEFT} {at:.1}H{:.1}\"/>", WIDTH - RIGHT);
            let _ = write!(svg, "<text class=\"tick end\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>", LEFT - 7.0, at + 4.0);
        }
        for (value, name) in x.ticks(7) {
            let at = place_x(value);
            let _ = write!(svg, "<path class=\"axis\" d=\"M{at:.1} {:.1}v5\"/>", HEIGHT - BOTTOM);
            let below = HEIGHT - BOTTOM + 19.0;
            let _ = write!(svg, "<text class=\"tick middle\" x=\"{at:.1}\" y=\"{below:.1}\">{name}</text>");
        }
        let _ = write!(svg, "<path class=\"axis\" d=\"M{LEFT} {:.1}H{:.1}\"/>", HEIGHT - BOTTOM, WIDTH - RIGHT);
        let middle = (LEFT + WIDTH - RIGHT) / 2.0;
        let label = x.label(&self.x.label);
        let _ = write!(svg, "<text class=\"label middle\" x=\"{middle:.1}\" y=\"{:.1}\">{label}</text>", HEIGHT - 8.0);
        let upright = (TOP + HEIGHT - BOTTOM) / 2.0;
        let _ = write!(
            svg,
            "<text class=\"label middle\" transform=\"translate(14 {upright:.1}) rotate(-90)\">{}</text>",
            y.label(&self.y.label)
        );
        for (series, colour) in self.series.iter().zip(self.colours()) {
            let points = series.points.iter().filter(|point| x.holds(point.0) && y.holds(point.1));
            let points: Vec<_> = points.map(|point| (place_x(point.0), place_y(point.1))).collect();
            match series.form {
                Form::Dots => points.iter().for_each(|(x, y)| {
                    let _ = write!(svg, "<circle class=\"dot c{colour}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/>");
                }),
                Form::Line | Form::Fit => {
                    let dash = if series.form == Form::Fit { " fit" } else { "" };
                    let thin = thinned(&points);
                    let path: String = thin.iter().map(|(x, y)| format!("{x:.1} {y:.1} ")).collect();
                    if !thin.is_empty() {
                        let _ = write!(svg, "<path class=\"line c{colour}{dash}\" d=\"M{}\"/>", path.trim_end());
                    }
                }
            }
        }
        if self.series.iter().all(|series| series.points.is_empty()) {
            let _ = write!(
                svg,
                "<text class=\"label middle\" x=\"{middle:.1}\" y=\"{upright:.1}\">nothing was measured</text>"
            );
        }
        svg + "</svg>"
    }

    fn legend(&self, svg: &mut String) {
        let mut at = LEFT;
        for (series, colour) in self.series.iter().zip(self.colours()) {
            let mark = match series.form {
                Form::Line => format!("<path class=\"line c{colour}\" d=\"M{at:.1} 54h18\"/>"),
                Form::Fit => format!("<path class=\"line c{colour} fit\" d=\"M{at:.1} 54h18\"/>"),
                Form::Dots => format!("<circle class=\"dot c{colour}\" cx=\"{:.1}\" cy=\"54\" r=\"4\"/>", at + 9.0),
            };
            let _ = write!(
                svg,
                "{mark}<text class=\"key\" x=\"{:.1}\" y=\"58\">{}</text>",
                at + 24.0,
                escape(&series.name)
            );
            at += 24.0 + series.name.chars().count() as f64 * LETTER + 18.0;
        }
    }

    fn colours(&self) -> impl Iterator<Item = usize> {
        let mut next = 0;
        self.series.iter().map(move |series| {
            if series.form != Form::Fit {
                next += 1;
            }
            (next.max(1) - 1) % COLOURS
        })
    }

    fn range(&self, axis: &Axis, of: impl Fn(&(f64, f64)) -> f64) -> Range {
        let values = self.series.iter().flat_map(|series| series.points.iter().map(&of));
        let values: Vec<f64> = values.chain([axis.at_least]).filter(|value| value.is_finite()).collect();
        let most = values.iter().copied().fold(0.0, f64::max);
        let least = values.iter().copied().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min);
        match axis.scale {
            Scale::Log if most > 0.0 => {
                let round = |value: f64| 10f64.powf(value.log10().floor());
                // The next of 1, 2, 5 outwards, and always a factor of ten to look at.
                let low = [5.0, 2.0, 1.0].map(|by| by * round(least)).into_iter().find(|low| *low <= least);
                let high = [1.0, 2.0, 5.0, 10.0].map(|by| by * round(most)).into_iter().find(|high| *high >= most);
                let low = low.unwrap_or(least).min(most / 10.0);
                Range { low, high: high.unwrap_or(most), scale: axis.scale, step: 0.0 }
            }
            Scale::Time => Range { low: 0.0, high: most.max(1.0), scale: axis.scale, step: time_step(most) },
            _ => {
                let most = if most > 0.0 { most } else { 1.0 };
                let step = round_step(most / 7.0);
                Range { low: 0.0, high: (most / step).ceil() * step, scale: Scale::Linear, step }
            }
        }
    }
}

struct Range {
    low: f64,
    high: f64,
    scale: Scale,
    step: f64,
}

impl Range {
    fn holds(&self, value: f64) -> bool {
        value.is_finite() && (self.scale != Scale::Log || value > 0.0)
    }

    fn share(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
            _ => (value - self.low) / (self.high - self.low),
        }
    }

    fn ticks(&self, most: usize) -> Vec<(f64, String)> {
        if self.scale == Scale::Log {
            let decades = (self.high / self.low).log10();
            let between: &[f64] = if decades > most as f64 / 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
            let first = self.low.log10().floor() as i32;
            let last = self.high.log10().ceil() as i32;
            let all = (first..=last).flat_map(|power| between.iter().map(move |by| by * 10f64.powi(power)));
            let inside = all.filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001);
            return inside.map(|tick| (tick, number(tick))).collect();
        }
        let count = (self.high / self.step + 0.001).floor() as usize;
        let unit = self.unit().0;
        (0..=count).map(|at| at as f64 * self.step).map(|tick| (tick, number(tick / unit))).collect()
    }

    /// Seconds in a unit of the axis, and its name.
    fn unit(&self) -> (f64, &'static str) {
        match self.scale {
            Scale::Time if self.high > 4.0 * 3_600.0 => (3_600.0, "h"),
            Scale::Time if self.high > 240.0 => (60.0, "min"),
            Scale::Time => (1.0, "s"),
            _ => (1.0, ""),
        }
    }

    fn label(&self, label: &str) -> String {
        match self.scale {
            Scale::Time => format!("{}, {}", escape(label), self.unit().1),
            _ => escape(label),
        }
    }
}

/// 1, 2 or 5 times a power of ten, and at least so much.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0].map(|by| by * power).into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power)
}

/// Of at most nine ticks.
fn time_step(most: f64) -> f64 {
    let steps =
        [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0];
    steps.into_iter().find(|step| most / step <= 9.0).unwrap_or(21_600.0)
}

/// With thin spaces between thousands, and no more digits than it has meaning.
pub fn number(value: f64) -> String {
    if !value.is_finite() || value.abs() >= NEVER {
        return "never".into();
    }
    let digits = match value.abs() {
        size if size >= 100.0 || size == value.abs().round() => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text };
    let (sign, text) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("−", rest));
    let (whole, rest) = text.split_once('.').map_or((text, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (at, digit) in whole.chars().enumerate() {
        // Four digits are read at a glance.
        if at > 0 && whole.len() > 4 && (whole.len() - at).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{sign}{grouped}.{rest}"),
        None => format!("{sign}{grouped}"),
    }
}

pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// At most two points for each column of pixels, the lowest and the highest: no spike is lost.
fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() < 2 * COLUMNS {
        return points.to_vec();
    }
    let mut thin = Vec::with_capacity(2 * COLUMNS);
    for part in points.chunks(points.len().div_ceil(COLUMNS)) {
        let by = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let mut both: Vec<_> =
            [part.iter().min_by(by), part.iter().max_by(by)].into_iter().flatten().copied().collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        both.dedup();
        thin.extend(both);
    }
    thin
}

/// What took longer than anybody waited.
const NEVER: f64 = 1e15;
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 86.0;
const RIGHT: f64 = 22.0;
const TOP: f64 = 74.0;
const BOTTOM: f64 = 48.0;
/// Of the legend's letters, on average.
const LETTER: f64 = 6.7;
const COLUMNS: usize = 400;
const COLOURS: usize = 5;

/// Colours that people tell apart who see fewer of them (Okabe and Ito), on white and on black paper.
pub const STYLE: &str = "\
:root{--paper:#fff;--ink:#1c2024;--soft:#5b6570;--grid:#e3e6ea;--c0:#0072b2;--c1:#d55e00;--c2:#009e73;--c3:#9b4f96;--c4:#a87900}\
@media screen and (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e8eaed;--soft:#a3acb6;--grid:#30363d;\
--c0:#56b4e9;--c1:#ff8a3d;--c2:#2fcf9f;--c3:#d99ad4;--c4:#e9bd3a}}\
.plot{font-family:system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\
.plot text{fill:var(--ink);font-size:12.5px}.plot .title{font-size:16px;font-weight:600}\
.plot .tick,.plot .label{fill:var(--soft)}.plot .end{text-anchor:end}.plot .middle{text-anchor:middle}\
.plot .grid{stroke:var(--grid);fill:none}.plot .axis{stroke:var(--soft);fill:none}\
.plot .line{fill:none;stroke-width:1.8;stroke-linejoin:round}.plot .fit{stroke-dasharray:6 5;stroke-width:1.4}\
.plot .line.c0{stroke:var(--c0)}.plot .line.c1{stroke:var(--c1)}.plot .line.c2{stroke:var(--c2)}\
.plot .line.c3{stroke:var(--c3)}.plot .line.c4{stroke:var(--c4)}\
.plot .dot{stroke:var(--paper);stroke-width:1}.plot .dot.c0{fill:var(--c0)}.plot .dot.c1{fill:var(--c1)}\
.plot .dot.c2{fill:var(--c2)}.plot .dot.c3{fill:var(--c3)}.plot .dot.c4{fill:var(--c4)}";

#[cfg(test)]
mod tests;
