//! How a run goes, while it goes: on a terminal a line that lives, elsewhere a line now and then.
use crate::outcome::Sample;
use crate::plot::number;
use crate::process;
use crate::scenario::Watch;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;

pub struct Progress {
    /// On a terminal.
    bar: Option<ProgressBar>,
    /// Well-behaved and hostile together.
    speakers: u64,
    said_at: f64,
    now: String,
}

impl Progress {
    /// To standard error: answers stay alone on standard output.
    pub fn new(speakers: u64) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            // The template is ours and right.
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(TICK);
            bar
        });
        Self { bar, speakers, said_at: 0.0, now: String::new() }
    }

    /// What happens now, until something else does.
    pub fn say(&mut self, text: &str) {
        text.clone_into(&mut self.now);
        match &self.bar {
            Some(bar) => {
                bar.println(text);
                bar.set_message(text.to_owned());
            }
            None => eprintln!("{text}"),
        }
    }

    pub fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Watch for Progress {
    fn sample(&mut self, sample: &Sample) {
        let line = line(sample, self.speakers);
        match &self.bar {
            Some(bar) => bar.set_message(format!("{line} · {}", self.now)),
            None if sample.at_s >= self.said_at + EVERY => {
                self.said_at = sample.at_s;
                eprintln!("{line}");
            }
            None => {}
        }
    }

    fn event(&mut self, at_s: f64, text: &str) {
        self.say(&format!("{:>6} {text}", clock(at_s)));
    }

    fn is_over(&self) -> bool {
        process::interrupted()
    }
}

fn line(sample: &Sample, speakers: u64) -> String {
    let delivery = match sample.delivery_p99_ms > 0.0 {
        true => format!(" · p99 {} ms", number(sample.delivery_p99_ms)),
        false => String::new(),
    };
    format!(
        "{:>6} joined {} of {} · streaming {} · {} packets/s · lost {}{delivery} · tree {} % CPU, {} MiB · tool {} % CPU",
        clock(sample.at_s),
        number(sample.joined as f64),
        number(speakers as f64),
        number(sample.streaming as f64),
        number(sample.packets_per_s.round()),
        number(sample.lost as f64),
        number(sample.target_cpu_percent.round()),
        number((sample.target_rss_kib / 1_024) as f64),
        number(sample.load_cpu_percent.round()),
    )
}

/// Minutes and seconds.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// Seconds between lines that nobody watches.
const EVERY: f64 = 10.0;
const TICK: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_it_goes_in_round_numbers() {
        let sample = Sample {
            at_s: 125.4,
            joined: 50_000,
            streaming: 49_998,
            packets_per_s: 208_333.4,
            delivery_p99_ms: 41.26,
            target_cpu_percent: 71.8,
            target_rss_kib: 1_200_000,
            load_cpu_percent: 97.0,
            ..Default::default()
        };
        let line = line(&sample, 50_000).replace('\u{202f}', " ");
        let expected = "  2:05 joined 50 000 of 50 000 · streaming 49 998 · 208 333 packets/s · lost 0 · p99 41.3 ms · \
                        tree 72 % CPU, 1171 MiB · tool 97 % CPU";
        assert_eq!(line, expected);
    }
}
