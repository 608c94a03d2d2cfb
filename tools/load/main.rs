//! `loa-load`: many virtual loudspeakers against a tree of Loa, and what it made of them.
mod crowd;
mod ear;
mod failure;
mod found;
mod hostile;
mod outcome;
mod page;
mod plan;
mod plot;
mod process;
mod profile;
mod progress;
mod quantiles;
mod run;
mod scenario;
mod sockets;
mod speaker;
mod summary;
mod thresholds;
mod tracks;
mod tree;
mod worker;
mod world;

use clap::{Args, Parser, Subcommand};
use failure::{Failure, Result};
use outcome::Outcome;
use profile::{Kind, Profile};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Loads a tree of Loa with virtual loudspeakers and judges it.
///
/// Ends with 0 if every threshold of the profile held, 3 if one was missed, 2 for a mistake on the command line or in
/// the profile, 1 if the run came to nothing or was interrupted; what was found until then is written all the same.
#[derive(Debug, Parser)]
#[command(name = "loa-load", version, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArgs,
    /// Prints the outcome as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// What to do and what must hold, such as config/load-short.toml
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// So many speakers, whatever the profile says
    #[arg(long, value_name = "N")]
    speakers: Option<u64>,
    /// Measure for so long; of growth, each step
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Any field of the profile, such as tree.relays=2
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where outcome.json, page.html and the nodes' logs go [default: data/load/PROFILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// The program under test [default: loa beside this one]
    #[arg(long, value_name = "PATH")]
    loa: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes the page, or its plots as single figures, of an outcome that was written before
    Plot {
        outcome: PathBuf,
        /// The page
        #[arg(long, value_name = "FILE")]
        page: Option<PathBuf>,
        /// A folder for NAME.svg of each plot
        #[arg(long, value_name = "DIR", required_unless_present = "page")]
        svg: Option<PathBuf>,
    },
    /// Starts a profile's tree, says how a profile attaches to it, airs its sound, and shows what it uses until Ctrl-C
    Tree(RunArgs),
    /// A process full of speakers, for another process of this program
    #[command(hide = true)]
    Worker,
}

fn main() -> ExitCode {
    // One provider of cryptography for the whole program, before anything asks for it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = Cli::parse();
    let done = match cli.command {
        Some(Command::Worker) => worker::run().map(|()| 0).map_err(|error| Failure::run(error.to_string())),
        Some(Command::Plot { outcome, page, svg }) => plot(&outcome, page.as_deref(), svg.as_deref()),
        Some(Command::Tree(args)) => tree(&args),
        None => load(&cli.run, cli.json),
    };
    done.map_or_else(
        |failure| {
            eprintln!("loa-load: {failure}");
            ExitCode::from(failure.exit())
        },
        ExitCode::from,
    )
}

fn load(args: &RunArgs, json: bool) -> Result<u8> {
    let profile = profile(args)?;
    let out = out(args)?;
    process::watch_interrupt();
    let outcome = run::run(&profile, &loa(args)?, &out)?;
    let text = serde_json::to_string_pretty(&outcome).map_err(|error| Failure::run(error.to_string()))?;
    write(&out.join("outcome.json"), &text)?;
    let page = out.join("page.html");
    write(&page, &page::page(&outcome))?;
    match json {
        true => println!("{text}"),
        false => println!("{}\nThe page: {}", summary::summary(&outcome), page.display()),
    }
    match (outcome.interrupted, summary::held(&outcome)) {
        (true, _) => Err(Failure::run("interrupted: what was found until then is written and is no verdict")),
        (false, true) => Ok(0),
        (false, false) => {
            if json {
                summary::missed(&outcome).iter().for_each(|line| eprintln!("loa-load: {line}"));
            }
            Ok(MISSED)
        }
    }
}

fn plot(file: &Path, page: Option<&Path>, svg: Option<&Path>) -> Result<u8> {
    let text = fs::read_to_string(file).map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
    let outcome: Outcome = serde_json::from_str(&text)
        .map_err(|error| Failure::usage(format!("{} is no outcome of this tool: {error}", file.display())))?;
    if outcome.started.is_empty() {
        return Err(Failure::usage(format!("{} is no outcome of this tool: nothing was run", file.display())));
    }
    if let Some(page) = page {
        write(page, &page::page(&outcome))?;
    }
    if let Some(folder) = svg {
        fs::create_dir_all(folder).map_err(|error| Failure::run(format!("{}: {error}", folder.display())))?;
        for (name, chart) in page::charts(&outcome) {
            let file = folder.join(format!("{name}.svg"));
            write(&file, &chart.file())?;
            println!("{}", file.display());
        }
    }
    Ok(0)
}

/// For whoever wants to see or load the same tree by other means.
fn tree(args: &RunArgs) -> Result<u8> {
    let profile = profile(args)?;
    let out = out(args)?;
    process::watch_interrupt();
    let mut tree = tree::Tree::start(&profile, &loa(args)?, &out)?;
    let media = tree.upload(profile.run.seconds)?;
    println!("# civil time is {} µs ahead of the monotonic clock", tree.civil_offset()?);
    print!("{}", tree.attachment().unwrap_or_default());
    let aired = tree.air(&media, tree.everywhere())?;
    println!("# aired {} of {:.0} s", aired.id, media.seconds);
    let mut said = Instant::now();
    while !process::interrupted() {
        tree.check()?;
        if said.elapsed() >= TELL {
            said = Instant::now();
            for reading in tree.readings() {
                println!("{:20} {:>9.2} s CPU {:>9} KiB", reading.name, reading.cpu_s, reading.rss_kib);
            }
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    tree.cancel(aired.id)?;
    Ok(0)
}

fn profile(args: &RunArgs) -> Result<Profile> {
    let file = args.profile.as_deref();
    let file = file.ok_or_else(|| Failure::usage("name a profile: --profile config/load-short.toml"))?;
    let mut over = args.set.clone();
    over.extend(args.speakers.map(|count| format!("speakers.count={count}")));
    over.extend(args.seconds.map(|seconds| format!("run.seconds={seconds:?}")));
    let profile = Profile::load(file, &over)?;
    if args.speakers.is_some() && profile.run.kind == Kind::Growth {
        return Err(Failure::usage(
            "--speakers: of growth, the steps say how many; use --set growth.listeners=[100,200]",
        ));
    }
    Ok(profile)
}

fn out(args: &RunArgs) -> Result<PathBuf> {
    let named = args.profile.as_deref().and_then(Path::file_stem).unwrap_or_default();
    let out = args.out.clone().unwrap_or_else(|| Path::new("data/load").join(named));
    fs::create_dir_all(&out)
        .map_err(|error| Failure::usage(format!("{}: {error}; name another with --out", out.display())))?;
    Ok(out)
}

fn loa(args: &RunArgs) -> Result<PathBuf> {
    if let Some(loa) = &args.loa {
        return Ok(loa.clone());
    }
    let own = std::env::current_exe().map_err(|error| Failure::run(format!("this program's own place: {error}")))?;
    Ok(own.with_file_name("loa"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).map_err(|error| Failure::run(format!("{}: {error}", file.display())))
}

/// A threshold missed (DESIGN §9).
const MISSED: u8 = 3;
const TELL: Duration = Duration::from_secs(5);
