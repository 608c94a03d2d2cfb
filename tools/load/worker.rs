//! One process full of speakers: `loa-load worker`.

/// Reads its plan and commands from standard input, tells by standard output, ends when the input does.
pub fn run() -> std::io::Result<()> {
    Err(std::io::Error::other("not there yet"))
}
