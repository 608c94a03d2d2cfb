//! The command line (DESIGN §9): reads it, does what it says, and ends with 0 done, 1 failed, 2 usage or
//! config, 3 someone not reached.
use super::logging::Logging;
#[cfg(feature = "full")]
use super::operator;
use super::text::{Failure, Language};
use super::{check, doctor, help, serve, volume};
use crate::config::Config;
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "loa", version, about = "Carries a country's public loudspeakers")]
pub struct Cli {
    #[command(subcommand)]
    pub(super) command: Command,
    /// Answers in JSON, for programs
    #[arg(long, global = true)]
    pub(super) json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Runs the node that a configuration file describes
    Run {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Says everything that is wrong with a configuration file, and with what its node would find here
    Check {
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Says what is wrong with a node that runs, and how to mend it
    Doctor {
        #[command(flatten)]
        node: NodeArgs,
    },
    /// Shows and sets how loud loudspeakers are: this machine's, one below, or all of an area
    Volume(Box<volume::VolumeArgs>),
    /// Writes what a shell needs to complete commands: loa completions bash
    Completions { shell: clap_complete::Shell },
    #[cfg(feature = "full")]
    #[command(flatten)]
    Operator(operator::Command),
}

impl Command {
    /// Whether it has no pipes but its own input and output.
    fn only_prints(&self) -> bool {
        match self {
            Self::Run { .. } => false,
            Self::Check { .. } | Self::Doctor { .. } | Self::Volume(_) | Self::Completions { .. } => true,
            #[cfg(feature = "full")]
            Self::Operator(command) => command.only_prints(),
        }
    }
}

#[derive(Debug, Args)]
pub struct NodeArgs {
    /// Speak to the node of this configuration file, whatever LOA_DATA says
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Speak to the node of this data folder [default: data/demo/origin, if it is there]
    #[arg(long, value_name = "DIR", env = "LOA_DATA")]
    pub data: Option<PathBuf>,
}

/// Does what the command line says, in its own runtime.
pub fn main() -> ExitCode {
    let language = Language::of_environment();
    let matches = help::in_language(Cli::command(), language).try_get_matches();
    let cli = match matches.and_then(|matches| Cli::from_arg_matches(&matches)) {
        Ok(cli) => cli,
        Err(error) => help::refuse(error, language),
    };
    #[cfg(feature = "full")]
    if let Command::Operator(command) = &cli.command
        && let Some(code) = command.run_bare()
    {
        return code;
    }
    if cli.command.only_prints() {
        crate::io::reader::end_with();
    }
    if let Command::Completions { shell } = &cli.command {
        clap_complete::generate(*shell, &mut Cli::command(), "loa", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    let logging = Logging::start();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(command(cli.command, cli.json, language, &logging)),
        Err(error) => Err(Failure::from_room("node.start", format!("no threads for the program: {error}"))),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            if cli.json {
                print_json(&serde_json::json!({ "code": failure.code, "text": failure.text(language) }));
            }
            for (code, text) in failure.parts(language) {
                eprintln!("loa: {text} [{code}]");
            }
            ExitCode::from(failure.exit())
        }
    }
}

async fn command(command: Command, json: bool, language: Language, logging: &Logging) -> Result<u8, Failure> {
    match command {
        Command::Run { config: file } => {
            let config = Config::load(&file).map_err(Failure::of_config)?;
            logging.follow(&config);
            serve::run(&file, config, logging, serve::interrupted()).await.map(|()| DONE)
        }
        Command::Check { config } => check::run(&config, json, language).await,
        Command::Doctor { node } => doctor::run(node.config.as_deref(), node.data.as_deref(), json, language).await,
        Command::Volume(args) => volume::run(*args, json, language).await,
        // Done before there was a runtime.
        Command::Completions { .. } => Ok(DONE),
        #[cfg(feature = "full")]
        Command::Operator(command) => command.run(json, language).await,
    }
}

pub(super) fn print_json(value: &impl Serialize) {
    // The forms have string keys and finite numbers: they can be written.
    println!("{}", serde_json::to_string(value).unwrap_or_default());
}

pub const DONE: u8 = 0;
/// Some of what was asked for, and the rest is done.
pub const FAILED: u8 = 1;
/// Somebody was not reached.
pub const SHORT: u8 = 3;
/// A mistake in the command line or the configuration.
pub const USAGE: u8 = 2;
/// A threshold missed or someone not reached.
#[cfg(feature = "full")]
pub const MISSED: u8 = 3;
/// Threads for people and programs; the node has its own for sound.
const THREADS: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
