//! `comity completions` and `comity man`: what packagers and shells want, made from the command
//! line's own description.

use crate::args::{Completions, Line, Man};
use crate::exit::Failure;
use crate::page::Page;
use clap::CommandFactory;
use clap_mangen::Man as ManPage;
use std::io::Write;
use std::path::Path;

pub(crate) fn completions(wanted: Completions) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(wanted.shell, &mut Line::command(), "comity", &mut text);
    Ok(std::io::stdout().write_all(&text)?)
}

pub(crate) fn man(wanted: Man, page: &mut Page) -> Result<(), Failure> {
    let Some(folder) = wanted.folder else {
        let mut text = Vec::new();
        ManPage::new(Line::command()).render(&mut text)?;
        return Ok(std::io::stdout().write_all(&text)?);
    };
    std::fs::create_dir_all(&folder)?;
    let mut command = Line::command();
    command.build();
    write_pages(&command, "comity", &folder)?;
    if page.json { Ok(()) } else { page.line(&format!("man pages are in {}", folder.display())) }
}

/// One page for this command and one for each below it, as git does: `comity-peers(1)`.
fn write_pages(command: &clap::Command, name: &str, folder: &Path) -> Result<(), Failure> {
    let mut text = Vec::new();
    ManPage::new(command.clone()).title(name.to_uppercase()).render(&mut text)?;
    std::fs::write(folder.join(format!("{name}.1")), text)?;
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        write_pages(below, &format!("{name}-{}", below.get_name()), folder)?;
    }
    Ok(())
}
