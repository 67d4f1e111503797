//! Build library: turns `proto/` into the Rust code and tables of one api crate, without `protoc`.
//!
//! Guarantees: a method without a complete rule, an event without a key and a permission that does not
//! belong to its service fail the build with the name of the offender. Custom options are read from the
//! encoded descriptors, since decoding them with prost would drop them.

mod check;
mod emit;

use std::path::{Path, PathBuf};

use prost_reflect::DescriptorPool;

/// What one api crate generates.
#[derive(Debug, Clone)]
pub struct Api<'a> {
    /// Folder below `proto/` whose files belong to the crate, such as `rapport/contacts/v1`.
    pub folders: &'a [&'a str],
    /// Permissions of the crate's methods begin with this segment, such as `contacts`; none for shared types.
    pub permission_prefix: Option<&'a str>,
    /// Where generated code finds the rule and event types.
    pub types: &'a str,
    /// Types that another crate generates already: proto path and Rust path.
    pub extern_paths: &'a [(&'a str, &'a str)],
}

/// Generates the api crate of one service; the whole of its build script.
///
/// # Errors
/// A text that names the file or method and says what is wrong with it.
pub fn service(segment: &str) -> Result<(), String> {
    generate(&Api {
        folders: &[&format!("rapport/{segment}/v1")],
        permission_prefix: Some(segment),
        types: "::rapport_proto",
        extern_paths: &[
            (".rapport.common.v1", "::rapport_proto::common::v1"),
            (".google.type", "::rapport_proto::google_type"),
            (".google.rpc", "::rapport_proto::google_rpc"),
        ],
    })
}

/// Generates one api crate into the build folder as `api.rs`.
///
/// # Errors
/// A text that names the file or method and says what is wrong with it.
pub fn generate(api: &Api<'_>) -> Result<(), String> {
    let proto = proto_root()?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set; call this from a build script")?);
    let mut files = Vec::new();
    for folder in api.folders {
        files.extend(proto_files(&proto.join(folder))?);
    }
    rerun_if_changed(&proto);
    let encoded = compile(&proto, &files)?;
    let pool = DescriptorPool::decode(encoded.as_slice()).map_err(|error| error.to_string())?;
    let own = own_files(&proto, &files, &pool);
    let methods = check::methods(&own, api.permission_prefix)?;
    let events = check::events(&own)?;
    std::fs::write(out.join("descriptor.bin"), &encoded).map_err(|error| error.to_string())?;
    std::fs::write(out.join("api.rs"), emit::api(api, &own, &methods, &events)).map_err(|error| error.to_string())?;
    rust_code(api, &encoded, &out)
}

#[expect(clippy::print_stdout, reason = "a build script speaks to cargo on its output")]
fn rerun_if_changed(folder: &Path) {
    println!("cargo:rerun-if-changed={}", folder.display());
}

/// Compiles the files and everything they import; keeps custom options.
fn compile(proto: &Path, files: &[PathBuf]) -> Result<Vec<u8>, String> {
    let mut compiler = protox::Compiler::new([proto.join("third_party"), proto.to_path_buf()]).map_err(|error| error.to_string())?;
    compiler.include_imports(true);
    for file in files {
        compiler.open_file(file).map_err(|error| format!("{error:?}"))?;
    }
    Ok(compiler.encode_file_descriptor_set())
}

fn rust_code(api: &Api<'_>, encoded: &[u8], out: &Path) -> Result<(), String> {
    let set = <prost_types::FileDescriptorSet as prost::Message>::decode(encoded).map_err(|error| error.to_string())?;
    let mut config = tonic_prost_build::configure().out_dir(out).build_transport(false);
    for (proto, rust) in api.extern_paths {
        config = config.extern_path(*proto, *rust);
    }
    config.compile_fds(set).map_err(|error| error.to_string())
}

/// The repository's `proto/` folder, found upwards from the crate that is built.
fn proto_root() -> Result<PathBuf, String> {
    let start = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    start
        .ancestors()
        .map(|folder| folder.join("proto"))
        .find(|folder| folder.join("rapport").is_dir())
        .ok_or_else(|| format!("no proto/rapport above {}", start.display()))
}

fn proto_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "proto"))
        .collect();
    files.sort();
    Ok(files)
}

fn own_files(proto: &Path, files: &[PathBuf], pool: &DescriptorPool) -> Vec<prost_reflect::FileDescriptor> {
    files
        .iter()
        .filter_map(|file| {
            let file = file.strip_prefix(proto).ok()?;
            pool.get_file_by_name(file.strip_prefix("third_party").unwrap_or(file).to_str()?)
        })
        .collect()
}
