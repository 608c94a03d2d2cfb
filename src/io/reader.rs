//! Whoever reads what a command prints may leave before its end (`loa nodes | head`).

/// From now on this process ends without a word when nobody reads its output any more, as programs of a shell do. Not for
/// one that speaks to others by pipes: it would end with any of them.
pub fn end_with() {
    // SAFETY: sets the default action of a signal and installs no handler; no other thread runs yet that could set it too.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}
