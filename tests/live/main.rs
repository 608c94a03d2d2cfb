//! Live sound through the whole product: how it ends on the air, in a simulated tree; and from an HTTP body to
//! what a loudspeaker lets out, on real sockets.

mod ends;
mod http;
mod renditions;
