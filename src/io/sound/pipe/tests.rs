//! Real commands; time is what the test says.
use super::*;
use std::path::Path;

/// Real time that a test waits at most for a process; it goes on as soon as it has done its part.
const PATIENCE: Duration = Duration::from_secs(20);

struct Bench {
    folder: tempfile::TempDir,
    pipe: Pipe,
    now: Local,
    dropped: Drops,
    said: Vec<Said>,
}

impl Bench {
    fn new(command: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dropped = Drops::new("sound.pipe");
        let pipe = Pipe::new(command.into(), folder.path().to_owned(), dropped.clone(), Local(0));
        Self { folder, pipe, now: Local(0), dropped, said: Vec::new() }
    }

    fn write(&mut self, frames: &[f32]) -> bool {
        self.now += frames.len() as i64 * SECOND / i64::from(RATE);
        let began = Instant::now();
        let heard = self.pipe.write(frames, self.now, &mut self.said);
        assert!(began.elapsed() < Duration::from_secs(2), "a write took {:?}", began.elapsed());
        assert!(self.pipe.waiting.len() <= WAITING, "{} bytes wait", self.pipe.waiting.len());
        heard
    }

    /// Looks again and again, without time passing for the pipe.
    fn until(&mut self, what: &str, mut done: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < until, "{what} did not happen; said: {:?}", self.said);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.folder.path().join(file)).unwrap_or_default()
    }

    fn codes(&self) -> Vec<&str> {
        self.said
            .iter()
            .map(|said| match said {
                Said::Trouble { code, .. } => *code,
                Said::Mended { .. } => "mended",
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

fn ramp(frames: usize) -> Vec<f32> {
    (0..frames).map(|at| (at % 20_000) as f32 / 32_767.0).collect()
}

fn is_alive(process: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // A zombie has ended, and only waits to be counted.
    state.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_command_gets_every_frame_as_16_bits_in_the_folder_of_the_configuration() {
    let mut bench = Bench::new("pwd > where; cat > out.raw");
    let frames = ramp(96_000);
    for part in frames.chunks(480) {
        assert!(bench.write(part));
        bench.until("room", |bench| {
            bench.pipe.push(bench.now).unwrap();
            bench.pipe.waiting.is_empty()
        });
    }
    bench.pipe.stop();
    let expected: Vec<u8> = frames.iter().flat_map(|frame| sample(*frame).to_le_bytes()).collect();
    assert!(bench.read("out.raw") == expected, "{} of {} bytes", bench.read("out.raw").len(), expected.len());
    assert_eq!((bench.dropped.count(), bench.said.len()), (0, 0));
    let (told, folder) = (bench.read("where"), bench.folder.path().canonicalize().unwrap());
    assert_eq!(Path::new(String::from_utf8(told).unwrap().trim()), folder);
}

#[test]
fn a_command_that_ends_is_said_once_and_started_again_ever_more_rarely() {
    let mut bench = Bench::new("echo x >> starts; exit 3");
    let mut heard = 0;
    while bench.now < Local(70 * SECOND) {
        heard += u32::from(bench.write(&[0.1; 4_800]));
        // Time goes on only when the command has.
        bench.until("the end of the command", |bench| {
            bench.pipe.running.as_ref().is_none_or(|running| running.group.ended().is_some())
        });
    }
    // At 0, and after 1, 2, 4, 8, 16 and 30 s more, each seen some 200 ms late.
    assert_eq!(bench.read("starts").len(), 2 * 7);
    assert_eq!(bench.codes(), [TROUBLE]);
    let text = format!("{:?}", bench.said);
    assert!(text.contains("exit code 3") && text.contains("correct playout.device"), "{text}");
    assert!(heard <= 14, "{heard} of 700 tenths of a second were taken");
    assert!(bench.dropped.count() > 60 * u64::from(RATE), "{}", bench.dropped.count());
}

#[test]
fn a_command_or_a_folder_that_is_not_there_is_named() {
    let mut bench = Bench::new("loa-no-such-command");
    bench.until("the end of the shell", |bench| {
        bench.write(&[0.0; 48]);
        !bench.said.is_empty()
    });
    let text = format!("{:?}", bench.said);
    assert!(text.contains("loa-no-such-command") && text.contains("exit code 127"), "{text}");
    let mut bench = Bench::new("cat");
    bench.pipe.folder = bench.folder.path().join("gone");
    assert!(!bench.write(&[0.0; 480]));
    let text = format!("{:?}", bench.said);
    assert!(text.contains("cannot be started") && text.contains("gone"), "{text}");
}

#[test]
fn a_command_that_takes_nothing_holds_nobody_up_and_is_ended_after_ten_seconds() {
    let mut bench = Bench::new("sleep 1000 & echo $! >> sleepers; wait");
    bench.write(&[0.1; 480]);
    bench.until("the start", |bench| bench.read("sleepers").ends_with(b"\n"));
    let sleeper = String::from_utf8(bench.read("sleepers")).unwrap();
    while bench.now < Local(9 * SECOND) {
        bench.write(&[0.1; 480]);
    }
    assert_eq!(bench.codes(), [TROUBLE], "{:?}", bench.said);
    assert!(bench.dropped.count() > 7 * u64::from(RATE) && is_alive(sleeper.trim()));
    while bench.now < Local(13 * SECOND) {
        bench.write(&[0.1; 480]);
    }
    bench.until("the end of the sleeper", |_| !is_alive(sleeper.trim()));
    assert_eq!(bench.codes(), [TROUBLE]);
}

#[test]
fn a_command_that_recovers_is_said_to() {
    let mut bench = Bench::new("if [ -e ready ]; then cat > out.raw; else exit 1; fi");
    bench.until("the first end", |bench| {
        bench.write(&[0.1; 48]);
        !bench.said.is_empty()
    });
    std::fs::write(bench.folder.path().join("ready"), "").unwrap();
    bench.until("its recovery", |bench| {
        bench.write(&[0.1; 480]);
        bench.codes() == [TROUBLE, "mended"]
    });
    bench.pipe.stop();
    assert!(!bench.read("out.raw").is_empty() && bench.read("out.raw").len().is_multiple_of(2));
}

#[test]
fn whatever_a_command_has_started_ends_with_it() {
    let mut bench = Bench::new("trap '' TERM; sleep 1000 & echo $! > sleepers; cat > /dev/null; sleep 1000");
    bench.write(&[0.1; 480]);
    bench.until("the start", |bench| bench.read("sleepers").ends_with(b"\n"));
    let sleeper = String::from_utf8(bench.read("sleepers")).unwrap();
    assert!(is_alive(sleeper.trim()));
    let began = Instant::now();
    bench.pipe.stop();
    assert!(began.elapsed() < 3 * FAREWELL, "{:?}", began.elapsed());
    bench.until("the end of the sleeper", |_| !is_alive(sleeper.trim()));
}
