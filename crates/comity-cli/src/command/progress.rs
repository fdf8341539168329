//! How far a transfer of files is, for people on a terminal as a bar, and for programs as events.

use crate::exit::Failure;
use crate::page::{Page, clean, say};
use comity_client::files::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often programs are told how far it is, at most.
const EVERY: Duration = Duration::from_millis(200);

/// How the bar looks.
const STYLE: &str = "{prefix}  {wide_bar}  {bytes}/{total_bytes}  {bytes_per_sec}  {eta}";

/// One transfer, as it is shown.
pub(super) struct Progress {
    bar: ProgressBar,
    visible: bool,
    /// It is not drawn: somebody types.
    quiet: bool,
    json: bool,
    /// Who is at the other end.
    who: String,
    total: u64,
    /// Bytes that were there already.
    spared: u64,
    arrived: u64,
    told: Option<Instant>,
}

impl Progress {
    /// A transfer of so many bytes with somebody of this name, which was cleaned.
    pub(super) fn new(page: &Page, who: String, total: u64) -> Self {
        let visible = !page.json && std::io::stderr().is_terminal();
        let bar = if visible { ProgressBar::new(total) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template(STYLE) {
            bar.set_style(style);
        }
        bar.set_prefix(who.clone());
        Self { bar, visible, quiet: false, json: page.json, who, total, spared: 0, arrived: 0, told: None }
    }

    /// It begins again after a break.
    pub(super) fn again(&mut self) {
        (self.spared, self.arrived) = (0, 0);
    }

    /// Shows what happened.
    pub(super) fn show(&mut self, event: &Event, page: &mut Page) -> Result<(), Failure> {
        match event {
            Event::Begun { path, size, from } if self.json => {
                self.value(page, "begun", &json!({ "path": path, "size": size, "from": from }))?;
            }
            Event::Begun { .. } => {}
            Event::Progress(arrived) => {
                self.arrived = *arrived;
                return self.moved(page);
            }
            Event::Spared(bytes) => {
                self.spared += bytes;
                return self.moved(page);
            }
            Event::Done { path } if self.json => self.value(page, "done", &json!({ "path": path }))?,
            Event::Done { path } => {
                let line = format!("{}  {}", self.who, clean(path));
                self.line(page, &line)?;
            }
            Event::Skipped { path, why } if self.json => {
                self.value(page, "skipped", &json!({ "path": path, "why": why, "text": why.text() }))?;
            }
            Event::Skipped { path, why } => {
                let line = format!("{}  {}  not taken: {}", self.who, clean(path), why.text());
                self.line(page, &line)?;
            }
            Event::Waiting if self.json => self.value(page, "waiting", &json!({}))?,
            Event::Waiting => self.remark(&format!("comity: waiting for {}", self.who)),
        }
        Ok(())
    }

    fn moved(&mut self, page: &mut Page) -> Result<(), Failure> {
        let bytes = self.spared + self.arrived;
        self.bar.set_position(bytes);
        if !self.json || self.told.is_some_and(|told| told.elapsed() < EVERY) {
            return Ok(());
        }
        self.told = Some(Instant::now());
        self.value(page, "progress", &json!({ "bytes": bytes, "total": self.total }))
    }

    /// An event for programs.
    pub(super) fn value(&self, page: &mut Page, event: &str, about: &Value) -> Result<(), Failure> {
        let mut value = json!({ "event": event, "peer": self.who });
        if let (Some(value), Some(about)) = (value.as_object_mut(), about.as_object()) {
            value.extend(about.clone());
        }
        page.value(&value)
    }

    /// A line for people, above the bar.
    pub(super) fn line(&self, page: &mut Page, line: &str) -> Result<(), Failure> {
        self.bar.suspend(|| page.line(line))
    }

    /// A remark on standard error, above the bar.
    pub(super) fn remark(&self, line: &str) {
        self.bar.suspend(|| say(line));
    }

    /// Draws the bar no more while somebody types, and again afterwards.
    pub(super) fn quiet(&mut self, quiet: bool) {
        if self.visible && self.quiet != quiet {
            self.quiet = quiet;
            if quiet {
                // What is drawn of it would stand before the question.
                self.bar.suspend(|| {});
                self.bar.set_draw_target(ProgressDrawTarget::hidden());
                eprintln!();
            } else {
                self.bar.set_draw_target(ProgressDrawTarget::stderr());
            }
        }
    }

    /// Takes the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

/// A number of bytes, for people.
pub(super) fn bytes(count: u64) -> String {
    indicatif::BinaryBytes(count).to_string()
}
