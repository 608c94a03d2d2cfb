//! Reads the command line and hands over.
use std::process::ExitCode;

fn main() -> ExitCode {
    // One provider of cryptography for the whole program, before anything asks for it.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    loa::control::cli::main()
}
