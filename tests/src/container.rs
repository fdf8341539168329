//! The node's image, built by buildah as `deploy/Containerfile` says, and containers of it, run by
//! podman. Everything of theirs is in one folder; nothing is fetched from a registry.
//!
//! Where no systemd is and root may not raise limits, podman needs to be told; what it is told is about
//! this machine, not about the image.

use crate::folder::Folder;
use crate::lab::Host;
use crate::lines::Lines;
use std::path::PathBuf;
use std::process::Command;

/// Podman refuses control groups of the first version, wherever they are mounted beside those of the second.
const CONTROL_GROUPS: &str =
    "umount -R /sys/fs/cgroup 2>/dev/null; mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// What containers are run with: a root file system that cannot be written, and no rights.
const RUN: &[&str] = &[
    "--network=host",
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    "--cgroups=disabled",
    "--ulimit=nofile=4096:4096",
    "--ulimit=nproc=1024:1024",
    // It wants timers of systemd; the check itself is run by the test.
    "--no-healthcheck",
];

/// An image of a node, and the containers of it.
#[derive(Debug)]
pub struct Image(Folder);

impl Image {
    /// Built from this repository, by `cargo xtask image`.
    pub fn build() -> Self {
        let image = Self(Folder::new());
        let context = image.0.path().join("context");
        let xtask = std::env::var_os("TESTS_XTASK").expect("TESTS_XTASK is set: run these tests by `cargo xtask test`");
        crate::peers::output(Command::new(xtask).args(["image", "--dev", "--into"]).arg(&context));
        let mut build = image.tool("buildah");
        build.args(["build", "--quiet", "--format", "docker", "--tag", "comity", "--file"]);
        crate::peers::output(build.arg(crate::deployed::file("Containerfile")).arg(context));
        image
    }

    /// The folder that `cargo xtask image` made, from which it was built.
    pub fn context(&self) -> PathBuf {
        self.0.path().join("context")
    }

    fn tool(&self, name: &str) -> Command {
        let mut command = Command::new(name);
        let folder = self.0.path();
        command.arg("--root").arg(folder.join("storage")).arg("--runroot").arg(folder.join("run"));
        command.arg("--storage-driver=vfs");
        command
    }

    /// What podman says on this host.
    pub fn podman(&self, host: &Host, words: &[&str]) -> Command {
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "--propagation", "private", "sh", "-c", CONTROL_GROUPS, "sh"]);
        let mut podman = self.tool("podman");
        host.run(&crate::lab::wrapped(shell, podman.args(words)))
    }

    /// A container of this name on this host: options of podman, then what the node is told. Signals reach the node.
    pub fn run<'a>(&'a self, host: &Host, name: &'a str, options: &[&str], words: &[&str]) -> Container<'a> {
        let all = [&["run", "--rm", "--name", name], RUN, options, &["localhost/comity"], words].concat();
        let process = Lines::start(&mut self.podman(host, &all));
        Container { image: self, host: host.clone(), name, process }
    }
}

/// A running container, removed when dropped.
#[derive(Debug)]
pub struct Container<'a> {
    image: &'a Image,
    host: Host,
    name: &'a str,
    /// Its output, as podman hands it on.
    pub process: Lines,
}

impl Container<'_> {
    /// A program of the image, run beside the node.
    pub fn inside(&self, words: &[&str]) -> Command {
        self.image.podman(&self.host, &[&["exec", self.name], words].concat())
    }

    /// `podman stop`, which sends the image's signal and waits so many seconds until it kills.
    pub fn stop(&self, seconds: u32) -> Command {
        self.image.podman(&self.host, &["stop", "--time", &seconds.to_string(), self.name])
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = self.image.podman(&self.host, &["rm", "--force", "--ignore", "--time", "0", self.name]).output();
    }
}
