//! Compiles the `.proto` files in pure Rust (no protoc) and keeps the descriptor set for reflection.

use std::{env, fs, path::PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const FILES: [&str; 4] = [
    "dispatch/v1/gateway.proto",
    "dispatch/v1/operator.proto",
    "dispatch/v1/saga.proto",
    "google/rpc/error_details.proto",
];

fn main() -> Result<()> {
    for folder in ["dispatch", "google"] {
        println!("cargo::rerun-if-changed={folder}");
    }
    let out = PathBuf::from(env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    // Written by protox itself: a round trip through prost-types would lose what that does not know.
    fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;
    let mut messages = tonic_prost_build::Config::new();
    messages.enable_type_names();
    tonic_prost_build::configure().compile_fds_with_config(compiler.file_descriptor_set(), messages)?;
    Ok(())
}
