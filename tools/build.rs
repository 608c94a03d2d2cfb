//! Compiles the wire messages. protox is a protobuf compiler in Rust, so no `protoc` is needed.
fn main() {
    const FILE: &str = "src/session/loa.proto";
    println!("cargo:rerun-if-changed={FILE}");
    let files = protox::compile([FILE], ["src/session"]).expect("loa.proto is valid");
    prost_build::Config::new()
        .bytes(["."])
        // Shows nothing of itself: its `Debug` stands in `track::cipher`.
        .skip_debug([".loa.v1.Secret"])
        .compile_fds(files)
        .expect("OUT_DIR can be written");
}
