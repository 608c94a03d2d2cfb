//! One node of the tree under test: `loa run` with a folder and ports of its own.
use super::api::Api;
use super::{Parent, Place, Reading, broken};
use crate::failure::{Failure, Result};
use crate::{process, profile};
use loa::io::identity::{NewNode, Root};
use loa::node::Role;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub struct Member {
    pub name: String,
    pub dialled: bool,
    /// Of its first shard.
    pub sessions: SocketAddr,
    pub admin: SocketAddr,
    role: &'static str,
    area: String,
    data: PathBuf,
    api: Option<SocketAddr>,
    process: Child,
}

/// What all nodes of a tree share.
pub struct Making<'a> {
    pub profile: &'a profile::Profile,
    pub tree: &'a profile::Tree,
    pub root: &'a Root,
    pub folder: &'a Path,
    pub loa: &'a Path,
    pub logs: &'a Path,
}

impl Member {
    pub fn start(place: &Place, parent: Option<SocketAddr>, making: &Making<'_>, ports: &mut Ports) -> Result<Self> {
        let tree = making.tree;
        let data = making.folder.join(&place.name);
        let area = place.area.parse().map_err(|error| Failure::run(format!("{}: {error}", place.area)))?;
        let origin = parent.is_none();
        let authority = origin.then(|| AUTHORITY.to_owned());
        let node = NewNode { role: Role::Relay, area, name: place.name.clone(), authority };
        making.root.provision(&data, &node).map_err(|error| broken(&data, &error))?;
        let sessions = ports.udp(tree.shards)?;
        let (admin, api) = (ports.tcp()?, if origin { Some(ports.tcp()?) } else { None });
        let mut text = format!("[node]\ndata = \".\"\n[children]\nlisten = \"{sessions}\"\nshards = {}\n", tree.shards);
        if let Some(beats) = tree.beats_per_second {
            text += &format!("beats_per_second = {beats}\n");
        }
        if let Some(parent) = parent {
            text += &format!("[parent]\naddresses = [\"{parent}\"]\nshards = {}\n", tree.shards);
        }
        if let Some(api) = api {
            let (bitrate, complexity) = (making.profile.sound.bitrate, tree.complexity);
            text += &format!(
                "[sources]\nauthority = \"{AUTHORITY}\"\nbitrates = [{bitrate}]\ncomplexity = {complexity}\n\
                 silence_ms = -1\n[api]\nlisten = \"{api}\"\n"
            );
        }
        text += &format!("[admin]\nlisten = \"{admin}\"\n");
        let config = data.join("loa.toml");
        fs::write(&config, text).map_err(|error| broken(&config, &error))?;
        let log = making.logs.join(format!("{}.log", place.name));
        let output = File::create(&log).map_err(|error| broken(&log, &error))?;
        let errors = output.try_clone().map_err(|error| broken(&log, &error))?;
        let mut command = Command::new(making.loa);
        command.arg("run").arg("--config").arg(&config).stdin(Stdio::null()).stdout(output).stderr(errors);
        if std::env::var_os("LOA_LOG").is_none() {
            command.env("LOA_LOG", "warn");
        }
        process::tame(&mut command, &tree.cores);
        let process = command.spawn().map_err(|error| {
            let text = format!(
                "{}: {error}; build it with cargo build --release, or name it with --loa",
                making.loa.display()
            );
            Failure::run(text)
        })?;
        let (name, area, role, dialled) = (place.name.clone(), place.area.clone(), place.role, place.dialled);
        Ok(Self { name, dialled, sessions, admin, role, area, data, api, process })
    }

    pub fn parent(&self, shards: u16) -> Parent {
        Parent { name: self.name.clone(), area: self.area.clone(), address: self.sessions, shards }
    }

    pub fn api(&self) -> Result<Api> {
        let address = self.api.ok_or_else(|| Failure::run(format!("{} has no API", self.name)))?;
        let file = self.data.join("api.token");
        let token = fs::read_to_string(&file).map_err(|error| broken(&file, &error))?;
        Api::new(address, token.trim().to_owned())
    }

    pub fn process(&self) -> u32 {
        self.process.id()
    }

    /// The speaking node's part of a profile's section `[attach]`.
    pub fn attachment(&self) -> Option<String> {
        let (api, token, admin) = (self.api?, self.data.join("api.token"), self.admin);
        let processes = if self.dialled { String::new() } else { format!("processes = [{}]\n", self.process()) };
        Some(format!("api = \"{api}\"\ntoken_file = {token:?}\nadmin = \"{admin}\"\n{processes}"))
    }

    pub fn reading(&self) -> Option<Reading> {
        let id = self.process.id();
        let (cpu_s, rss_kib) = (process::cpu_s(id)?, process::rss_kib(id)?);
        Some(Reading { name: self.name.clone(), role: self.role.into(), cpu_s, rss_kib, dialled: self.dialled })
    }

    /// Whether it still runs; if not, the end of its log is told.
    pub fn check(&mut self, logs: &Path) -> Result<()> {
        let Ok(Some(status)) = self.process.try_wait() else { return Ok(()) };
        Err(self.ended(status, logs))
    }

    fn ended(&self, status: ExitStatus, logs: &Path) -> Failure {
        let log = logs.join(format!("{}.log", self.name));
        let text = fs::read_to_string(&log).unwrap_or_default();
        let last = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("and it said nothing");
        Failure::run(format!("{} ended ({status}): {last}; all of it is in {}", self.name, log.display()))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // SAFETY: no pointer is passed, and the process is ours and not waited for yet.
        unsafe { libc::kill(self.process.id() as libc::pid_t, libc::SIGTERM) };
        let until = Instant::now() + GOING;
        while Instant::now() < until {
            match self.process.try_wait() {
                Ok(None) => std::thread::sleep(Duration::from_millis(10)),
                _ => return,
            }
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Free ports on loopback below those that the system gives to dialling sockets.
#[derive(Default)]
pub struct Ports {
    given: BTreeSet<u16>,
}

impl Ports {
    /// The first of so many in a row.
    pub fn udp(&mut self, row: u16) -> Result<SocketAddr> {
        self.find(row, |port| UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    pub fn tcp(&mut self) -> Result<SocketAddr> {
        self.find(1, |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }

    fn find(&mut self, row: u16, free: impl Fn(u16) -> bool) -> Result<SocketAddr> {
        let row = row.max(1);
        // Two runs at once begin at different places.
        let start = FIRST + (std::process::id() % 16) as u16 * 1_000;
        for port in (start..LAST - row).chain(FIRST..start) {
            if (port..port + row).all(|port| !self.given.contains(&port) && free(port)) {
                self.given.extend(port..port + row);
                return Ok((Ipv4Addr::LOCALHOST, port).into());
            }
        }
        Err(Failure::run(format!("no {row} free ports in a row from {FIRST} to {LAST} on 127.0.0.1")))
    }
}

const AUTHORITY: &str = "national";
/// For a node to say goodbye to tens of thousands.
const GOING: Duration = Duration::from_secs(10);
/// Above the services' own, below the dialling ones (32768 on).
const FIRST: u16 = 11_000;
const LAST: u16 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_given_once_and_in_rows() {
        let mut ports = Ports::default();
        let first = ports.udp(4).unwrap().port();
        let second = ports.udp(2).unwrap().port();
        let third = ports.tcp().unwrap().port();
        assert!(!(first..first + 4).contains(&second) && !(first..first + 4).contains(&third));
        assert!(!(second..second + 2).contains(&third));
        let taken = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(!ports.given.contains(&taken));
    }
}
