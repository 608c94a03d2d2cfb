//! Live sound through the whole product: how it ends on the air, in a simulated tree; and from an HTTP body to
//! what a loudspeaker lets out, on real sockets.

mod ends;
mod http;
mod renditions;
#[path = "../still/mod.rs"]
mod still;

/// With a runtime of its own, as a process has; what fails while the machine stands still is tried again.
fn in_real_time(name: &str, run: impl AsyncFn()) {
    let once = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.expect("a runtime").block_on(run());
    };
    assert!(still::holds(name, once), "{name}: see above");
}
