//! `loa-load`: many virtual loudspeakers against a tree of Loa, and what it made of them.
mod failure;
mod outcome;
mod process;
mod profile;
mod tree;

fn main() {
    let outcome = outcome::Outcome::default();
    println!("{}", serde_json::to_string_pretty(&outcome).unwrap_or_default());
}
