//! `cargo xtask image`: the folder from which a container image of a node is built, with
//! `deploy/Containerfile`. The image itself is built by podman, buildah or docker, by whoever wants it.

use crate::program::{self, Failed};
use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Where the folder is made when nobody says.
const USUAL: &str = "deploy/image";

/// Where systems keep the authorities' certificates in one file: Debian, Fedora, openSUSE, Alpine.
const BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The user of the image; `deploy/Containerfile` has the same number.
const PASSWD: &str = "comity:x:65532:65532:Comity:/data:/\n";
const GROUP: &str = "comity:x:65532:\n";

/// Without this file the C library asks services that are not in the image.
const NSSWITCH: &str = "hosts: files dns\n";

/// How the program is built.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Profile {
    /// For the tests, quickly.
    Dev,
    /// For use.
    Release,
}

pub(crate) fn run(words: &[&str]) -> Result<(), Failed> {
    let (profile, folder) = match words {
        [] => (Profile::Release, crate::root().join(USUAL)),
        ["--dev"] => (Profile::Dev, crate::root().join(USUAL)),
        ["--dev", "--into", folder] => (Profile::Dev, PathBuf::from(folder)),
        ["--into", folder] => (Profile::Release, PathBuf::from(folder)),
        _ => return Err(Failed("only [--dev] [--into FOLDER] are known".to_owned())),
    };
    let bundle = BUNDLES.iter().find(|file| Path::new(file).is_file());
    let bundle = bundle.ok_or_else(|| Failed("no certificates here: install ca-certificates".to_owned()))?;
    let comity = build(profile)?;
    lay_out(&folder, &comity, Path::new(bundle))?;
    println!(
        "{0} holds the node and the certificates of {bundle}. Build the image with one of:\n  \
         podman build --format docker -t comity -f deploy/Containerfile {0}\n  \
         docker build -t comity -f deploy/Containerfile {0}",
        folder.display()
    );
    Ok(())
}

/// The command with everything in it, the C library too: an image from scratch has none. It is built
/// apart, so that neither this build nor the usual one makes the other begin anew.
pub(crate) fn build(profile: Profile) -> Result<PathBuf, Failed> {
    let target = host()?;
    let mut cargo = program::cargo();
    cargo.args(["metadata", "--format-version=1", "--no-deps"]);
    let metadata: serde_json::Value = serde_json::from_str(&program::output(&mut cargo)?)
        .map_err(|error| Failed(format!("cargo metadata: {error}")))?;
    let folder =
        metadata["target_directory"].as_str().ok_or_else(|| Failed("cargo has no target folder".to_owned()))?;
    let mut cargo = program::cargo();
    cargo.args(["build", "--locked", "--package", "comity-cli", "--target", &target]);
    cargo.arg("--target-dir").arg(Path::new(folder).join("image"));
    match profile {
        // Nothing for debuggers: it makes the program three times as large.
        Profile::Dev => cargo.env("CARGO_PROFILE_DEV_DEBUG", "false").env("CARGO_PROFILE_DEV_STRIP", "symbols"),
        Profile::Release => cargo.arg("--release"),
    };
    cargo.env(
        format!("CARGO_TARGET_{}_RUSTFLAGS", target.to_uppercase().replace('-', "_")),
        "-Ctarget-feature=+crt-static",
    );
    program::built("comity", &mut cargo)
}

/// What this machine's compiler builds for. Given by name, so that the flags are not those of build scripts.
fn host() -> Result<String, Failed> {
    let version = program::output(program::program("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failed("rustc does not say for which machine".to_owned()))
}

/// `system/` belongs to root in the image, `own/` to the node.
fn lay_out(folder: &Path, comity: &Path, bundle: &Path) -> Result<(), Failed> {
    for part in ["system", "own"] {
        let part = folder.join(part);
        if part.exists() {
            fs::remove_dir_all(part)?;
        }
    }
    let etc = folder.join("system/etc");
    fs::create_dir_all(etc.join("ssl/certs"))?;
    fs::copy(comity, folder.join("system/comity"))?;
    fs::copy(bundle, etc.join("ssl/certs/ca-certificates.crt"))?;
    for (name, text) in [("passwd", PASSWD), ("group", GROUP), ("nsswitch.conf", NSSWITCH)] {
        fs::write(etc.join(name), text)?;
    }
    DirBuilder::new().recursive(true).mode(0o700).create(folder.join("own/data"))?;
    Ok(())
}
