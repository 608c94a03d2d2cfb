//! What the program is built from: licences that may be used, no crate twice but for those known, all from one
//! registry. Read from `Cargo.lock` and what cargo has fetched; nothing is asked of any network.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// SPDX names that ask no more than to be named, and two that let changed files stay open (MPL-2.0 for symphonia,
/// Unicode-3.0 for tables of characters).
const ALLOWED: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Crates of which several versions are built, and how many: for others' sake. A line goes when it is no longer
/// true; none is added, and no number grows, without a reason beside it.
const SEVERAL: &[(&str, usize)] = &[
    ("base64", 2),
    ("bit-vec", 2),
    ("bitflags", 2),
    // The hashes of PostgreSQL's login (sqlx) are newer than those of argon2 and of the oracle webrtc-srtp.
    ("block-buffer", 2),
    ("cpufeatures", 2),
    ("crypto-common", 2),
    ("digest", 2),
    ("foldhash", 2),
    ("getrandom", 3),
    ("hashbrown", 3),
    ("hmac", 2),
    ("itertools", 2),
    ("rand", 2),
    ("rand_chacha", 2),
    ("rand_core", 3),
    ("sha1", 2),
    ("sha2", 2),
    ("syn", 2),
    ("synstructure", 2),
    ("thiserror", 2),
    ("thiserror-impl", 2),
    ("unicode-width", 2),
    ("untrusted", 2),
];

#[test]
fn every_licence_is_one_that_may_be_used() {
    let wrong: Vec<String> = packages()
        .into_iter()
        .filter(|package| package["source"].is_string())
        .filter_map(|package| {
            let licence = package["license"].as_str().unwrap_or_default();
            let name = format!("{} {}", package["name"].as_str()?, package["version"].as_str()?);
            match Expression::read(licence) {
                Some(expression) if expression.allowed() => None,
                _ => Some(format!("{name}: {licence:?}")),
            }
        })
        .collect();
    assert!(wrong.is_empty(), "licences that are not on the list:\n{}", wrong.join("\n"));
}

#[test]
fn no_crate_is_built_twice_but_for_those_known() {
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        versions.entry(text("name")).or_default().insert(text("version"));
    }
    let several = |name: &str| versions.get(name).map_or(0, BTreeSet::len);
    let new: Vec<_> = versions
        .iter()
        .filter(|(name, versions)| {
            let known = SEVERAL.iter().find(|(known, _)| known == name).map_or(1, |(_, count)| *count);
            versions.len() > known
        })
        .collect();
    assert!(new.is_empty(), "built more than once; let one version do, or give the reason in SEVERAL: {new:?}");
    let gone: Vec<_> = SEVERAL.iter().filter(|(name, count)| several(name) < *count).collect();
    assert!(gone.is_empty(), "built less often now: shorten SEVERAL by {gone:?}");
}

#[test]
fn every_crate_comes_from_the_one_registry() {
    for package in packages() {
        let source = package["source"].as_str();
        let registry = source.is_none_or(|source| source == "registry+https://github.com/rust-lang/crates.io-index");
        assert!(registry, "{} comes from {source:?}", package["name"]);
    }
}

/// All packages for this machine's kind, by what `Cargo.lock` says.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let words = ["metadata", "--offline", "--locked", "--format-version", "1", "--filter-platform", &platform];
    let done = Command::new(cargo).args(words).current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).expect("cargo speaks JSON");
    metadata["packages"].as_array().expect("a list of packages").clone()
}

/// An SPDX licence expression (SPDX 2.3, annex D): names, `OR`, `AND`, `WITH`, parentheses. An older `/` is an `OR`.
#[derive(Debug, PartialEq)]
enum Expression {
    Name(String),
    All(Vec<Expression>),
    Any(Vec<Expression>),
}

impl Expression {
    fn read(text: &str) -> Option<Self> {
        let spaced = text.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        let words: Vec<&str> = spaced.split_whitespace().collect();
        let mut rest = &words[..];
        let expression = Self::any(&mut rest)?;
        rest.is_empty().then_some(expression)
    }

    fn any(rest: &mut &[&str]) -> Option<Self> {
        let mut of = vec![Self::all(rest)?];
        while rest.first() == Some(&"OR") {
            *rest = &rest[1..];
            of.push(Self::all(rest)?);
        }
        Some(Self::Any(of))
    }

    fn all(rest: &mut &[&str]) -> Option<Self> {
        let mut of = vec![Self::one(rest)?];
        while rest.first() == Some(&"AND") {
            *rest = &rest[1..];
            of.push(Self::one(rest)?);
        }
        Some(Self::All(of))
    }

    fn one(rest: &mut &[&str]) -> Option<Self> {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        if *first == "(" {
            let within = Self::any(rest)?;
            *rest = rest.strip_prefix(&[")"])?;
            return Some(within);
        }
        match *rest {
            ["WITH", exception, tail @ ..] => {
                *rest = tail;
                Some(Self::Name(format!("{first} WITH {exception}")))
            }
            _ if ["OR", "AND", "WITH", ")"].contains(first) => None,
            _ => Some(Self::Name((*first).to_owned())),
        }
    }

    fn allowed(&self) -> bool {
        match self {
            Self::Name(name) => ALLOWED.contains(&name.as_str()),
            Self::All(of) => of.iter().all(Self::allowed),
            Self::Any(of) => of.iter().any(Self::allowed),
        }
    }
}

#[test]
fn a_licence_expression_is_allowed_where_a_choice_of_it_is() {
    let allowed = |text: &str| Expression::read(text).map(|expression| expression.allowed());
    for text in ["MIT", "MIT/GPL-3.0", "GPL-2.0-only OR Apache-2.0", "ISC AND (Apache-2.0 OR GPL-3.0-only)"] {
        assert_eq!(allowed(text), Some(true), "{text}");
    }
    for text in ["GPL-3.0-only", "MIT AND GPL-3.0-only", "ISC AND (AGPL-3.0 OR GPL-3.0)", "Apache-2.0 WITH Other"] {
        assert_eq!(allowed(text), Some(false), "{text}");
    }
    for text in ["", "MIT OR", "(MIT", "AND MIT", "MIT GPL-3.0"] {
        assert_eq!(allowed(text), None, "{text}");
    }
}
