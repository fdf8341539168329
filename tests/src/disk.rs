//! A small disk of its own, in a mount namespace that nobody else sees and that ends with the test.

use crate::folder::Folder;
use crate::lines::Lines;
use std::path::Path;
use std::process::Command;

/// A file system of a few MiB, mounted on a folder for the programs that are run on it.
#[derive(Debug)]
pub struct Disk {
    /// With it, and the last program on it, the mount ends.
    holder: Lines,
}

impl Disk {
    /// A new, empty one of that many MiB, on this folder.
    pub fn mounted_on(folder: &Folder, mebibytes: u32) -> Self {
        let mount = format!("mount -t tmpfs -o size={mebibytes}m,mode=700 tmpfs \"$0\" && echo mounted && exec cat");
        let mut shell = Command::new("unshare");
        shell.args(["--mount", "--propagation", "private", "sh", "-c", &mount]).arg(folder.path());
        let mut holder = Lines::start(&mut shell);
        holder.wait_for("mount", crate::PATIENCE, |line| (line == "mounted").then_some(()));
        Self { holder }
    }

    /// This command, where the disk is. Its process id is that of the command.
    pub fn run(&self, inner: &Command) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.holder.pid().to_string(), "--"]);
        crate::lab::wrapped(command, inner)
    }

    /// Runs a program there to its end.
    pub fn inside(&self, words: &[&str]) {
        let mut inner = Command::new(words[0]);
        inner.args(&words[1..]);
        crate::peers::output(&mut self.run(&inner));
    }

    /// Writes this file until there is no room for another 64 KiB.
    pub fn fill(&self, file: &Path) {
        let fill = "dd if=/dev/zero of=\"$0\" bs=64k 2>/dev/null; test -s \"$0\"";
        self.inside(&["sh", "-c", fill, &file.display().to_string()]);
    }
}
