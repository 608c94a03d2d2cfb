//! The coordinator's side of all workers: starts them, tells them what to do, adds up what they tell.
use crate::plan::{Cohort, Command, Heard, Kind, Plan, Report, Tally};
use crate::process;
use crate::quantiles::Histogram;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How many speakers, in how many processes, on which cores.
#[derive(Clone, Debug)]
pub struct Options {
    /// `first`, `count` and `core` are each worker's own.
    pub plan: Plan,
    pub speakers: u32,
    /// Of these, the last so many are newcomers and have processes of their own, which give way to the others': what
    /// the tool lacks while they connect must not look like a delay of those who stream already.
    pub newcomers: u32,
    /// At most so many in one process (a socket each, and the hard limit of files).
    pub per_process: u32,
    /// Workers are pinned to these in turn; empty: anywhere.
    pub cores: Vec<usize>,
}

/// What all workers have told, added up.
#[derive(Clone, Debug, Default)]
pub struct Told {
    /// The most packets of a track that leave in one send.
    pub together: u32,
    pub dialled: u64,
    pub joined: u64,
    pub streaming: u64,
    pub streaming_of: [u64; 3],
    /// Dials that failed and sessions that ended, by reason.
    pub ended: BTreeMap<String, u64>,
    /// µs.
    pub welcomed: Histogram,
    pub first_packet: Histogram,
    /// Of the measured window, by cohort ([`Told::of`]).
    pub window: [Tally; 3],
    pub orders: Vec<Heard>,
    pub hostile: BTreeMap<String, u64>,
    pub unreached: Vec<u32>,
}

/// Of the time since the last [`Crowd::second`].
#[derive(Clone, Debug, Default)]
pub struct Second {
    pub packets: u64,
    pub delivery: Histogram,
}

impl Told {
    pub fn of(&self, cohort: Cohort) -> &Tally {
        &self.window[cohort as usize]
    }

    pub fn streaming_in(&self, cohort: Cohort) -> u64 {
        self.streaming_of[cohort as usize]
    }
}

pub struct Crowd {
    workers: Vec<Worker>,
    reports: Receiver<(usize, Result<Report, String>)>,
    told: Told,
    second: Second,
    epoch: u32,
}

struct Worker {
    process: Child,
    /// Closed: the worker ends.
    input: Option<ChildStdin>,
    last: Report,
    count: u32,
    cohort: Cohort,
    /// Speakers told to dial.
    asked: u32,
    /// Has told something.
    begun: bool,
}

impl Crowd {
    /// Starts the workers; nobody dials yet.
    pub fn start(options: &Options) -> io::Result<Self> {
        let program = std::env::current_exe()?;
        let (sender, reports) = channel();
        let mut crowd =
            Self { workers: Vec::new(), reports, told: Told::default(), second: Second::default(), epoch: 0 };
        let newcomers = options.newcomers.min(options.speakers);
        let steady = shares(0, options.speakers - newcomers, options.per_process);
        let steady = steady.into_iter().map(|share| (Cohort::Steady, share));
        let newcomers = shares(options.speakers - newcomers, newcomers, options.per_process);
        let newcomers = newcomers.into_iter().map(|share| (Cohort::Newcomers, share));
        for (number, (cohort, (first, count))) in steady.chain(newcomers).enumerate() {
            let core = options.cores.get(number % options.cores.len().max(1)).copied();
            let nice = if cohort == Cohort::Steady { NICE } else { NICER };
            let plan = Plan { first, count, core, nice, ..options.plan.clone() };
            let mut command = std::process::Command::new(&program);
            command.arg("worker").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
            // Pinned by its plan, if at all.
            process::tame(&mut command, &[]);
            let mut process = command.spawn()?;
            let input = process.stdin.take();
            if let Some(output) = process.stdout.take() {
                let sender = sender.clone();
                std::thread::Builder::new()
                    .name(format!("worker {number}"))
                    .spawn(move || read(number, BufReader::new(output), &sender))?;
            }
            let mut worker = Worker { process, input, last: Report::default(), count, cohort, asked: 0, begun: false };
            worker.write(&plan)?;
            crowd.workers.push(worker);
        }
        Ok(crowd)
    }

    /// Whether every worker has made its speakers' keys.
    pub fn ready(&self) -> bool {
        self.workers.iter().all(|worker| worker.begun)
    }

    /// CPU since they began and memory now, of all workers.
    pub fn usage(&self) -> crate::outcome::Usage {
        let mut usage = crate::outcome::Usage { processes: self.workers.len() as u64, ..Default::default() };
        for worker in &self.workers {
            let id = worker.process.id();
            usage.cpu_s += process::cpu_s(id).unwrap_or_default();
            usage.rss_kib += process::rss_kib(id).unwrap_or_default();
        }
        usage
    }

    /// `count` more dial, at most `per_second` in a second, all workers together; `f64::INFINITY`: at once.
    pub fn join(&mut self, count: u32, per_second: f64, cohort: Cohort) -> io::Result<()> {
        let free = |worker: &Worker| if worker.cohort == cohort { worker.count - worker.asked } else { 0 };
        let free: Vec<u32> = self.workers.iter().map(free).collect();
        let shares = deal(count, &free);
        for (worker, share) in self.workers.iter_mut().zip(shares).filter(|(_, share)| *share > 0) {
            let per_second =
                if per_second.is_finite() { per_second * f64::from(share) / f64::from(count.max(1)) } else { AT_ONCE };
            worker.asked += share;
            worker.write(&Command::Join { count: share, per_second, cohort })?;
        }
        Ok(())
    }

    /// Measuring begins anew: packets due from `from` (µs Unix UTC) on count.
    pub fn hold(&mut self, from: i64) -> io::Result<()> {
        self.epoch += 1;
        self.told.window = Default::default();
        let epoch = self.epoch;
        self.tell(&Command::Hold { epoch, from })
    }

    /// Measuring ends with what is due before `until`; wait for [`Crowd::released`] some seconds after it.
    pub fn release(&mut self, until: i64) -> io::Result<()> {
        self.tell(&Command::Release { until })
    }

    /// Whether every worker's counts of the window are final.
    pub fn released(&self) -> bool {
        self.workers.iter().all(|worker| worker.last.released && worker.last.epoch == self.epoch)
    }

    /// So many of a cohort lose their sessions without a word and dial again.
    pub fn drop_sessions(&mut self, count: u32, cohort: Cohort) -> io::Result<()> {
        self.dealt(count, |count| Command::Drop { count, cohort })
    }

    /// So many of the steady cohort turn hostile.
    pub fn turn(&mut self, count: u32, kinds: &[Kind]) -> io::Result<()> {
        self.dealt(count, |count| Command::Turn { count, kinds: kinds.to_vec() })
    }

    /// Takes in what comes within `time`, or the first report if `time` is zero.
    pub fn wait(&mut self, time: Duration) -> io::Result<()> {
        let until = Instant::now() + time;
        loop {
            match self.reports.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok((number, report)) => self.take(number, report.map_err(io::Error::other)?),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => return Err(io::Error::other("all workers have ended")),
            }
        }
    }

    /// Times to join are counted anew: of those who dial from now on.
    pub fn forget_joins(&mut self) {
        (self.told.welcomed, self.told.first_packet) = Default::default();
    }

    pub fn told(&self) -> &Told {
        &self.told
    }

    pub fn second(&mut self) -> Second {
        std::mem::take(&mut self.second)
    }

    /// Says goodbye for all speakers, and waits for the processes.
    pub fn finish(mut self) -> io::Result<()> {
        // A worker that is gone already has nobody left to say goodbye for.
        let _ = self.tell(&Command::Finish);
        for worker in &mut self.workers {
            worker.input = None;
            worker.process.wait()?;
        }
        Ok(())
    }

    fn tell(&mut self, command: &Command) -> io::Result<()> {
        self.workers.iter_mut().try_for_each(|worker| worker.write(command))
    }

    fn dealt(&mut self, count: u32, command: impl Fn(u32) -> Command) -> io::Result<()> {
        let asked: Vec<u32> = self.workers.iter().map(|worker| worker.asked).collect();
        let shares = deal(count, &asked);
        for (worker, share) in self.workers.iter_mut().zip(shares).filter(|(_, share)| *share > 0) {
            worker.write(&command(share))?;
        }
        Ok(())
    }

    fn take(&mut self, number: usize, report: Report) {
        let told = &mut self.told;
        for (reason, count) in &report.ended {
            *told.ended.entry(reason.clone()).or_default() += count;
        }
        told.welcomed.merge(&report.welcomed);
        told.first_packet.merge(&report.first_packet);
        self.second.packets += report.packets;
        self.second.delivery.merge(&report.delivery);
        if report.epoch == self.epoch {
            for (sum, tally) in told.window.iter_mut().zip(&report.window) {
                sum.add(tally);
            }
        }
        for heard in &report.orders {
            match told.orders.iter_mut().find(|known| known.order == heard.order) {
                Some(known) => {
                    known.arrival.merge(&heard.arrival);
                    known.obeyed.merge(&heard.obeyed);
                }
                None => told.orders.push(heard.clone()),
            }
        }
        if let Some(worker) = self.workers.get_mut(number) {
            worker.last = report;
            worker.begun = true;
        }
        self.add_up();
    }

    /// What is told as it is now rather than since the last report.
    fn add_up(&mut self) {
        let told = &mut self.told;
        let lasts = || self.workers.iter().map(|worker| &worker.last);
        told.together = lasts().map(|last| last.together).max().unwrap_or(1);
        told.dialled = lasts().map(|last| last.dialled).sum();
        told.joined = lasts().map(|last| last.joined).sum();
        told.streaming = lasts().map(|last| last.streaming).sum();
        for at in 0..told.window.len() {
            told.streaming_of[at] = lasts().map(|last| last.streaming_of[at]).sum();
            let current = || lasts().filter(|last| last.epoch == self.epoch).map(|last| &last.window[at]);
            told.window[at].expected = current().map(|tally| tally.expected).sum();
            told.window[at].received = current().map(|tally| tally.received).sum();
        }
        told.hostile = BTreeMap::new();
        for (kind, count) in lasts().flat_map(|last| &last.hostile) {
            *told.hostile.entry(kind.clone()).or_default() += count;
        }
        let unreached: BTreeSet<u32> = lasts().flat_map(|last| last.unreached.iter().copied()).collect();
        told.unreached = unreached.into_iter().collect();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for worker in &mut self.workers {
            worker.input = None;
            if !matches!(worker.process.try_wait(), Ok(Some(_))) {
                let _ = worker.process.kill();
                let _ = worker.process.wait();
            }
        }
    }
}

impl Worker {
    fn write(&mut self, line: &impl serde::Serialize) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        let gone = || io::Error::new(io::ErrorKind::BrokenPipe, "a worker has ended");
        self.input.as_mut().ok_or_else(gone)?.write_all(text.as_bytes())
    }
}

impl Tally {
    /// Adds what is told since the last report; `expected` and `received` are told as they are now.
    fn add(&mut self, other: &Self) {
        self.repaired += other.repaired;
        self.duplicates += other.duplicates;
        self.nacks += other.nacks;
        self.checked += other.checked;
        self.compared += other.compared;
        self.forged += other.forged;
        self.bytes += other.bytes;
        self.delivery.merge(&other.delivery);
    }
}

fn read(number: usize, output: impl BufRead, sender: &Sender<(usize, Result<Report, String>)>) {
    for line in output.lines() {
        let report = line
            .map_err(|error| error.to_string())
            .and_then(|line| serde_json::from_str(&line).map_err(|error| format!("worker {number}: {error}: {line}")));
        if sender.send((number, report)).is_err() {
            return;
        }
    }
    let _ = sender.send((number, Err(format!("worker {number} has ended before its time"))));
}

/// `count` from `first` on in shares of at most `most`: where each begins, and how many it has. Several of equal size
/// rather than full ones and a rest: pinned cores then work alike.
fn shares(first: u32, count: u32, most: u32) -> Vec<(u32, u32)> {
    let of = count.div_ceil(most.max(1));
    let begin = |number: u32| (u64::from(count) * u64::from(number) / u64::from(of.max(1))) as u32;
    (0..of).map(|number| (first + begin(number), begin(number + 1) - begin(number))).collect()
}

/// `count` over workers in proportion to what each has room for, never beyond it.
fn deal(count: u32, room: &[u32]) -> Vec<u32> {
    let total: u64 = room.iter().map(|room| u64::from(*room)).sum();
    let count = u64::from(count).min(total);
    let mut before = 0;
    let mut given = 0;
    room.iter()
        .map(|room| {
            before += u64::from(*room);
            let until = (before * count).checked_div(total).unwrap_or(0);
            let part = until - given;
            given = until;
            part as u32
        })
        .collect()
}

/// Dials in a second that no machine reaches, and JSON can say.
const AT_ONCE: f64 = 1e9;
/// Of two that share a core, those who are measured all the time go first, as the nodes do.
const NICE: i32 = 0;
const NICER: i32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_one_size_and_leave_nobody_out() {
        for (first, count, most) in
            [(0, 50_000, 19_936), (5_000, 20_000, 9_000), (0, 1, 100), (3, 7, 1), (0, 0, 5), (9, 4, 0)]
        {
            let shares = shares(first, count, most);
            assert_eq!(shares.iter().map(|(_, count)| count).sum::<u32>(), count, "{shares:?}");
            assert!(shares.iter().all(|(_, count)| *count <= most.max(1) && *count > 0), "{shares:?}");
            let mut next = first;
            for (begin, count) in shares {
                assert_eq!(begin, next);
                next += count;
            }
        }
    }

    #[test]
    fn what_is_dealt_out_is_all_there_is_and_fits() {
        for (count, room) in [(10, vec![3, 3, 3]), (7, vec![10, 0, 5]), (0, vec![4]), (5, vec![0, 0]), (3, vec![])] {
            let dealt = deal(count, &room);
            assert_eq!(dealt.iter().sum::<u32>(), count.min(room.iter().sum()), "{count} over {room:?}: {dealt:?}");
            assert!(dealt.iter().zip(&room).all(|(part, room)| part <= room), "{count} over {room:?}: {dealt:?}");
        }
    }
}
