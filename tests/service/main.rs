//! `loa` as a technician installs it: checked, started by a service manager, reloaded, examined, stopped; and what it
//! says on ground that is bad.
mod check;
mod ground;
mod place;
#[path = "../ports/mod.rs"]
mod ports;
mod rights;
mod run;
mod units;
mod upgrade;
mod volume;
