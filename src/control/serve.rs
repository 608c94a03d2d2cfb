//! Runs one node with its listeners: the one way in for `loa run`, `loa up` and the tests.
use super::admin;
use super::api::{self, Api, ENCODERS, Events, UPLOADS};
use super::live::{self, Sources};
use super::media::{self, Library};
use super::text::Failure;
use super::token::Token;
use crate::audio;
use crate::config::Config;
use crate::io::decoder::Isolation;
use crate::io::{Handle, Node};
use axum::Router;
use axum::serve::Listener;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
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
    live: Option<Arc<Sources>>,
}

/// Decodes uploads in this process: for programs that aren't `loa` and have no `decode`.
pub async fn start(config: &Config) -> Result<Running, Failure> {
    start_with(config, Isolation::default()).await
}

/// Binds first, so that a port that is taken is named before anything else begins. `isolation` says where uploads
/// are decoded; the foreign decoder is the configuration's.
pub async fn start_with(config: &Config, isolation: Isolation) -> Result<Running, Failure> {
    let admin = bind("[admin] listen", config.admin.listen).await?;
    let api = match &config.api {
        Some(api) => Some(bind("[api] listen", api.listen).await?),
        None => None,
    };
    let starting = config.clone();
    let node = tokio::task::spawn_blocking(move || Node::start(&starting)).await;
    let node = node.map_err(|error| Failure::from_room("node.start", format!("the node broke at start: {error}")))?;
    let node = node.map_err(|error| Failure::from_room(error.code, error.text))?;
    let handle = node.handle();

    let (end, ended) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let admin_address = address(&admin, config.admin.listen);
    serve(&mut tasks, admin, admin::router(handle.clone()), &ended);
    let mut api_address = None;
    let mut live = None;
    if let Some(listener) = api {
        let wanted = config.api.as_ref().map_or(admin_address, |api| api.listen);
        api_address = Some(address(&listener, wanted));
        match assemble(config, &handle, isolation) {
            Ok(api) => {
                live = Some(api.live.clone());
                tasks.spawn(collect(handle.events(), api.events.clone(), ended.clone()));
                serve(&mut tasks, listener, api::router(Arc::new(api)), &ended);
            }
            Err(failure) => {
                // Its threads are joined before the failure is told.
                let _ = tokio::task::spawn_blocking(move || node.stop()).await;
                return Err(failure);
            }
        }
    }
    Ok(Running { handle, api: api_address, admin: admin_address, node, tasks, end, live })
}

/// A node until `shutdown` is done.
pub async fn run(config: &Config, shutdown: impl Future<Output = ()>) -> Result<(), Failure> {
    let running = start_with(config, Isolation::own(None)).await?;
    tracing::info!(
        node = %running.handle.id(),
        api = ?running.api,
        admin = %running.admin,
        data = %config.node.data.display(),
        "running"
    );
    shutdown.await;
    running.stop().await;
    Ok(())
}

impl Running {
    /// Listeners first: nobody asks a node that is going.
    pub async fn stop(mut self) {
        let _ = self.end.send(true);
        if let Some(live) = self.live.take() {
            // While the node can still say where they end.
            let _ = tokio::task::spawn_blocking(move || live.stop()).await;
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
    use tokio::signal::unix::{SignalKind, signal};
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

fn assemble(config: &Config, handle: &Handle, isolation: Isolation) -> Result<Api, Failure> {
    let data = &config.node.data;
    let (options, foreign) = match &config.sources {
        Some(sources) => (media::options(sources), sources.decoder.clone()),
        None => (audio::Options::default(), None),
    };
    let isolation = Isolation { foreign, ..isolation };
    let audio = audio::live::Options {
        bitrates: options.bitrates.clone(),
        complexity: options.complexity,
        loudness: Some(options.loudness),
        peak: options.peak,
        ..audio::live::Options::default()
    };
    let library = Library::open(data, options, isolation.clone());
    let library = library.map_err(|error| Failure::new("node.folder", [&data.join("media").display(), &error]))?;
    Ok(Api {
        handle: handle.clone(),
        zone: config.node.zone,
        token: Token::open(data)?,
        library: Arc::new(library),
        sounds: config.playout.is_some(),
        speaks: config.sources.is_some(),
        events: Arc::new(Events::default()),
        uploads: Semaphore::new(UPLOADS),
        encoders: Semaphore::new(ENCODERS),
        live: Arc::new(Sources::new(handle.clone(), live::Settings { isolation, audio })),
    })
}

async fn collect(
    mut from: broadcast::Receiver<crate::node::trunk::Event>,
    to: Arc<Events>,
    mut end: watch::Receiver<bool>,
) {
    loop {
        tokio::select! {
            event = from.recv() => match event {
                Ok(event) => to.push(event),
                // The numbers show the gap.
                Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return,
            },
            _ = end.changed() => return,
        }
    }
}

async fn bind(section: &str, wanted: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(wanted).await.map_err(|error| Failure::new("config.port_taken", [&wanted, &section, &error]))
}

fn address(listener: &TcpListener, wanted: SocketAddr) -> SocketAddr {
    listener.local_addr().unwrap_or(wanted)
}

fn serve(tasks: &mut JoinSet<()>, listener: TcpListener, router: Router, end: &watch::Receiver<bool>) {
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
