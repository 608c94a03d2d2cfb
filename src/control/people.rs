//! What answers people and programs at `[api] listen`.
use super::api::{self, Api, ENCODERS, Events, UPLOADS};
use super::live::{self, Sources};
use super::media::{self, Library};
use super::receipts;
use super::serve::{address, bind, serve};
use super::text::{Failure, Language};
use super::timetable::{Desk, Setup};
use super::token::Token;
use crate::audio;
use crate::config::Config;
use crate::io::Handle;
use crate::node::trunk::Request;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, broadcast, watch};
use tokio::task::JoinSet;

pub use crate::io::decoder::Isolation;

pub struct People {
    api: Arc<Api>,
    address: SocketAddr,
}

/// Opens the port, if there is an `[api]`.
pub async fn open(config: &Config) -> Result<Option<TcpListener>, Failure> {
    match &config.api {
        Some(api) => bind("[api] listen", api.listen).await.map(Some),
        None => Ok(None),
    }
}

/// Answers there until `ended`.
pub fn start(
    config: &Config,
    handle: &Handle,
    isolation: Isolation,
    listener: TcpListener,
    tasks: &mut JoinSet<()>,
    ended: &watch::Receiver<bool>,
) -> Result<People, Failure> {
    let wanted = config.api.as_ref().map_or(config.admin.listen, |api| api.listen);
    let address = address(&listener, wanted);
    let api = Arc::new(assemble(config, handle, isolation)?);
    tasks.spawn(receipts::keep(api.clone(), ended.clone()));
    tasks.spawn(collect(handle.events(), api.events.clone(), ended.clone()));
    if let Some(desk) = api.desk.clone() {
        tasks.spawn(desk.run(ended.clone()));
    }
    serve(tasks, listener, api::router(api.clone()), ended);
    Ok(People { api, address })
}

impl People {
    /// As bound.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends live sources, while the node can still say where they end.
    pub async fn stop(self) {
        let _ = tokio::task::spawn_blocking(move || self.api.live.stop()).await;
    }

    /// What a configuration that was read again changes at once.
    pub fn reload(&self, config: &Config) {
        let (options, foreign) = encoding(config);
        let audio = live_options(&options);
        self.api.live.change(|settings| {
            settings.audio = audio;
            settings.isolation.foreign.clone_from(&foreign);
        });
        self.api.library.change(|settings| {
            settings.options = options;
            settings.isolation.foreign = foreign;
        });
        match Token::open(&config.node.data) {
            Ok(token) => *self.api.token.write().unwrap_or_else(PoisonError::into_inner) = token,
            Err(failure) => tracing::error!(code = failure.code, "{failure}; the token stays as it was"),
        }
    }
}

fn assemble(config: &Config, handle: &Handle, isolation: Isolation) -> Result<Api, Failure> {
    let data = &config.node.data;
    let (database, keep_days) = config.api.as_ref().map_or((None, 1), |api| (api.database.as_deref(), api.keep_days));
    let (options, foreign) = encoding(config);
    let isolation = Isolation { foreign, ..isolation };
    let audio = live_options(&options);
    let library = Library::open(data, options, isolation.clone());
    let library = library.map_err(|error| Failure::new("node.folder", [&data.join("media").display(), &error]))?;
    let (library, encoders) = (Arc::new(library), Arc::new(Semaphore::new(ENCODERS)));
    let live = Arc::new(Sources::new(handle.clone(), live::Settings { isolation, audio }));
    let desk = config.sources.as_ref().map(|_| {
        Desk::open(Setup {
            handle: handle.clone(),
            library: library.clone(),
            encoders: encoders.clone(),
            live: live.clone(),
            zone: config.node.zone,
            config: config.timetable.clone(),
        })
    });
    Ok(Api {
        handle: handle.clone(),
        zone: config.node.zone,
        token: RwLock::new(Token::open(data)?),
        library,
        sounds: config.playout.is_some(),
        speaks: config.sources.is_some(),
        events: Arc::new(Events::default()),
        uploads: Semaphore::new(UPLOADS),
        encoders,
        live,
        receipts: receipts::Store::new(data, database, keep_days),
        desk: match desk.transpose() {
            Ok(desk) => desk.map(Arc::new),
            // What people say by hand, and emergencies, must not wait for a file to be mended.
            Err(failure) if matches!(failure.code.as_str(), "timetable.damaged" | "timetable.store") => {
                tracing::error!(code = failure.code, "this node airs nothing by itself: {failure}");
                stands(handle, failure.text(Language::English));
                None
            }
            Err(failure) => return Err(failure),
        },
    })
}

/// A trouble that stands until the next start.
fn stands(handle: &Handle, text: String) {
    let handle = handle.clone();
    tokio::spawn(async move { handle.request(Request::Stands { code: "timetable.order", wrong: Some(text) }).await });
}

/// How uploads are encoded, and what decodes what Loa doesn't read.
fn encoding(config: &Config) -> (audio::Options, Option<PathBuf>) {
    match &config.sources {
        Some(sources) => (media::options(sources), sources.decoder.clone()),
        None => (audio::Options::default(), None),
    }
}

/// Live sources sound as uploads do.
fn live_options(options: &audio::Options) -> audio::live::Options {
    audio::live::Options {
        bitrates: options.bitrates.clone(),
        complexity: options.complexity,
        loudness: Some(options.loudness),
        peak: options.peak,
        ..audio::live::Options::default()
    }
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
