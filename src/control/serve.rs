//! Runs one node with its listeners: the one way in for `loa run`, `loa up` and the tests.
use super::logging::Logging;
use super::people::{self, Isolation, People};
use super::reload;
use super::text::Failure;
use super::{admin, enrolling};
use crate::config::Config;
use crate::io::{Handle, Node, notify};
use crate::node::trunk::Request;
use axum::Router;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// A node and its listeners, until [`Running::stop`].
pub struct Running {
    pub handle: Handle,
    /// As bound, if there is an `[api]`.
    pub api: Option<SocketAddr>,
    pub admin: SocketAddr,
    node: Node,
    tasks: JoinSet<()>,
    end: watch::Sender<bool>,
    pub(super) people: Option<People>,
}

/// Decodes uploads in this process: for programs that aren't `loa` and have no `decode`.
pub async fn start(config: &Config) -> Result<Running, Failure> {
    start_with(config, Isolation::default()).await
}

/// Binds first, so that a port that is taken is named before anything else begins. `isolation` says where uploads
/// are decoded; the foreign decoder is the configuration's.
pub async fn start_with(config: &Config, isolation: Isolation) -> Result<Running, Failure> {
    let admin = bind("[admin] listen", config.admin.listen).await?;
    let api = people::open(config).await?;
    let admin = enrolling::wait(config, admin).await?;
    let starting = config.clone();
    let node = tokio::task::spawn_blocking(move || Node::start(&starting)).await;
    let node = node.map_err(|error| Failure::from_room("node.start", format!("the node broke at start: {error}")))?;
    let node = node.map_err(|error| Failure::from_room(error.code, error.text))?;
    let handle = node.handle();

    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let admin_address = address(&admin, config.admin.listen);
    serve(&mut tasks, admin, admin::router(handle.clone(), parents(config)), &ended);
    let mut people = None;
    if let Some(listener) = api {
        match people::start(config, &handle, isolation, listener, &mut tasks, &ended) {
            Ok(answering) => people = Some(answering),
            Err(failure) => {
                // Its threads are joined before the failure is told.
                let _ = tokio::task::spawn_blocking(move || node.stop()).await;
                return Err(failure);
            }
        }
    }
    let api = people.as_ref().map(People::address);
    Ok(Running { handle, api, admin: admin_address, node, tasks, end, people })
}

fn parents(config: &Config) -> Vec<String> {
    config.parent.as_ref().map_or_else(Vec::new, |parent| parent.addresses.clone())
}

/// A node until `shutdown` is done. SIGHUP reads `file` again; the service manager, if there is one, is told of all.
pub async fn run(
    file: &Path,
    mut config: Config,
    logging: &Logging,
    shutdown: impl Future<Output = ()>,
) -> Result<(), Failure> {
    // Before anybody can ask the node for anything: until it is heard, a hang-up ends the process.
    let mut hang_ups = signal(SignalKind::hangup()).ok();
    let mut shutdown = std::pin::pin!(shutdown);
    let running = tokio::select! {
        running = start_with(&config, Isolation::own(None)) => running?,
        // A board may wait long for its certificate.
        () = &mut shutdown => return Ok(()),
    };
    logging.export(&config, &running.handle).await;
    tracing::info!(
        node = %running.handle.id(),
        api = ?running.api,
        admin = %running.admin,
        data = %config.node.data.display(),
        "running"
    );
    notify::ready();
    let handle = running.handle.clone();
    let beat = async move {
        match notify::watchdog() {
            Some(patience) => keep_alive(&handle, patience).await,
            None => std::future::pending().await,
        }
    };
    let mut beat = std::pin::pin!(beat);
    loop {
        let hang_up = async {
            match &mut hang_ups {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = &mut shutdown => break,
            () = &mut beat => {}
            _ = hang_up => {
                notify::reloading();
                config = reload::reload(file, config, &running, logging);
                notify::ready();
            }
        }
    }
    tracing::info!("stopping");
    notify::stopping();
    running.stop().await;
    logging.end().await;
    Ok(())
}

/// Says that the node is alive as long as its trunk answers; whoever hears nothing starts it anew.
async fn keep_alive(handle: &Handle, patience: Duration) {
    let mut turns = tokio::time::interval(patience / 3);
    loop {
        turns.tick().await;
        let asked = tokio::time::timeout(patience / 3, handle.request(Request::Broadcasts)).await;
        match asked {
            Ok(Some(_)) => notify::alive(),
            Ok(None) | Err(_) => tracing::error!(code = "node.trunk", "the node's trunk does not answer"),
        }
    }
}

impl Running {
    /// Listeners first: nobody asks a node that is going.
    pub async fn stop(mut self) {
        let _ = self.end.send(true);
        if let Some(people) = self.people.take() {
            people.stop().await;
        }
        let all = async { while self.tasks.join_next().await.is_some() {} };
        // An upload under way does not hold a shutdown up.
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            self.tasks.shutdown().await;
        }
        let node = self.node;
        let _ = tokio::task::spawn_blocking(move || node.stop()).await;
    }
}

/// Ctrl-C, or a service manager's SIGTERM.
pub async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        },
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

pub(super) async fn bind(section: &str, wanted: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(wanted).await.map_err(|error| Failure::new("config.port_taken", [&wanted, &section, &error]))
}

pub(super) fn address(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wanted)
}

pub(super) fn serve(tasks: &mut JoinSet<()>, listener: TcpListener, router: Router, end: &watch::Receiver<bool>) {
    let listener = Bounded { listener, places: Arc::new(Semaphore::new(CONNECTIONS)) };
    let mut end = end.clone();
    let ended = async move {
        let _ = end.wait_for(|end| *end).await;
    };
    tasks.spawn(async move {
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(ended).await {
            tracing::error!(code = "node.listener", %error, "a listener ended");
        }
    });
}

/// Takes no more connections than it has places; the rest wait in the kernel's backlog.
struct Bounded {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection, its place, and when it was last of use.
struct Held {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
    idle: Pin<Box<tokio::time::Sleep>>,
}

impl Listener for Bounded {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Held, SocketAddr) {
        loop {
            let Ok(place) = self.places.clone().acquire_owned().await else {
                // Never closed: the listener holds it.
                std::future::pending::<()>().await;
                continue;
            };
            let (stream, peer) = Listener::accept(&mut self.listener).await;
            return (Held { stream, _place: place, idle: Box::pin(tokio::time::sleep(IDLE)) }, peer);
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Held {
    fn used(&mut self) {
        self.idle.as_mut().reset(tokio::time::Instant::now() + IDLE);
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Ready(result) => {
                self.used();
                Poll::Ready(result)
            }
            // Whoever opens connections and says nothing gives the place back.
            Poll::Pending => self.idle.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into())),
        }
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.used();
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Connections per listener: people and their programs, not speakers.
const CONNECTIONS: usize = 256;
/// A connection that neither reads nor writes for so long ends; longer than an upload may stall or be
/// encoded (four hours of sound take some two minutes).
const IDLE: Duration = Duration::from_secs(300);
/// What a request under way may still take at shutdown.
const DRAIN: Duration = Duration::from_secs(2);
