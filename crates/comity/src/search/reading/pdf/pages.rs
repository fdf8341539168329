//! The words on the pages of a PDF, put in lines by where their letters stand. It draws nothing,
//! and what is an image stays unread. It runs only in the process that [`super::child`] limits.

use super::super::characters;
use super::super::flow::{Flow, Taken};
use super::{PdfCause, TITLE_MAX};
use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::page::Page;
use hayro_interpret::hayro_syntax::{LoadPdfError, Pdf};
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect, Vec2};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, interpret_page,
};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What a font calls the height of a line, in its own units.
const EM: f64 = 1000.0;

/// How wide a letter is taken to be that does not say it, in units of its font.
const WIDTH: f32 = 500.0;

/// From this distance on two letters belong to two words, parts of a line's height. Lines that are
/// set tight have a fifth between words, and letters within a word a tenth at most.
const WORD_GAP: f64 = 0.15;

/// From this distance across the line on a letter stands on another line, parts of its height: what
/// is set above a line for a note is a third.
const LINE_GAP: f64 = 0.5;

/// From this distance on another line begins another paragraph.
const PARAGRAPH_GAP: f64 = 1.9;

/// When no further page is begun: what was read until then is an answer, and the system's limits,
/// which leave nothing, are for a page without end.
const PATIENCE: Duration = Duration::from_secs(7);

/// The words of a PDF and the title it gives itself.
pub(super) fn taken(bytes: Vec<u8>) -> Result<Taken, PdfCause> {
    let pdf = catch_unwind(|| Pdf::new(bytes)).map_err(|_| PdfCause::GaveUp)?.map_err(|error| match error {
        LoadPdfError::Decryption(_) => PdfCause::Encrypted,
        LoadPdfError::Invalid => PdfCause::Damaged,
    })?;
    let mut lines = Lines { flow: Flow::new(), last: None };
    let (mut gave_up, mut unread) = (false, false);
    let (cache, begun) = (InterpreterCache::new(), Instant::now());
    for page in pdf.pages().iter() {
        unread = begun.elapsed() > PATIENCE;
        if unread || lines.flow.is_full() {
            break;
        }
        // What a page leaves half done is a line of text, which is whole wherever it ends.
        gave_up |= catch_unwind(AssertUnwindSafe(|| read_page(&pdf, page, &cache, &mut lines))).is_err();
        lines.last = None;
        lines.flow.paragraph();
    }
    let taken = lines.flow.finish();
    if gave_up && taken.text.is_empty() {
        return Err(PdfCause::GaveUp);
    }
    let capped = taken.capped || unread;
    Ok(Taken { title: pdf.metadata().title.as_deref().map(title), capped, ..taken })
}

fn read_page<'a>(pdf: &'a Pdf, page: &Page<'a>, cache: &InterpreterCache<'a>, lines: &mut Lines) {
    let all = Rect::new(f64::MIN, f64::MIN, f64::MAX, f64::MAX);
    let mut context = Context::new(Affine::IDENTITY, all, cache, pdf.xref(), InterpreterSettings::default());
    interpret_page(page, &mut context, lines);
}

/// A title, which is in UTF-16 or UTF-8 with a mark, or else nearly Latin-1.
fn title(bytes: &[u8]) -> String {
    let marked = matches!(bytes, [0xfe, 0xff, ..] | [0xff, 0xfe, ..] | [0xef, 0xbb, 0xbf, ..]);
    let text = characters::decoded(bytes).filter(|_| marked);
    text.map_or_else(|| characters::western(bytes), |text| text.into_owned()).chars().take(TITLE_MAX).collect()
}

/// Letters as they come, put in lines.
struct Lines {
    flow: Flow,
    last: Option<Letter>,
}

/// Where a letter stands.
#[derive(Clone, Copy)]
struct Letter {
    start: Point,
    end: Point,
    height: f64,
}

impl Lines {
    fn letter(&mut self, letter: Letter, along: Vec2, text: &str) {
        if let Some(last) = self.last {
            let gap = letter.start - last.end;
            let height = letter.height.max(last.height);
            let (forward, across) = (gap.dot(along), gap.cross(along).abs());
            if across > height * PARAGRAPH_GAP {
                self.flow.paragraph();
            } else if across > height * LINE_GAP {
                self.flow.line();
            } else if forward > height * WORD_GAP || forward < -height {
                self.flow.space();
            }
            if across > height * LINE_GAP && text.chars().all(char::is_lowercase) {
                self.flow.heal_hyphen();
            }
        }
        self.last = Some(letter);
        for c in text.chars() {
            match ligature(c) {
                Some(letters) => self.flow.words(letters),
                None => self.flow.words(c.encode_utf8(&mut [0; 4])),
            }
        }
    }
}

/// The letters that are set as one, which nobody types.
const fn ligature(c: char) -> Option<&'static str> {
    Some(match c {
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        '\u{ad}' => "-",
        _ => return None,
    })
}

impl Device<'_> for Lines {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, '_>, props: DrawProps<'_>, mode: &DrawMode) {
        for glyph in run.glyphs() {
            let transform = props.transform * glyph.transform();
            let start = transform * Point::ZERO;
            // Letters that are filled and outlined come twice.
            if matches!(mode, DrawMode::Stroke(_)) && self.last.is_some_and(|last| last.start == start) {
                return;
            }
            let width = match &**glyph {
                Glyph::Outline(outline) => outline.advance_width(),
                Glyph::Type3(drawn) => drawn.advance_width(),
            };
            let end = transform * Point::new(f64::from(width.unwrap_or(WIDTH)), 0.0);
            let height = (transform * Point::new(0.0, EM) - start).hypot();
            let along = transform * Point::new(EM, 0.0) - start;
            let along = along / along.hypot().max(f64::MIN_POSITIVE);
            let letter = Letter { start, end, height };
            match glyph.as_unicode() {
                Some(BfString::Char(c)) => self.letter(letter, along, c.encode_utf8(&mut [0; 4])),
                Some(BfString::String(text)) => self.letter(letter, along, &text),
                None => self.last = Some(letter),
            }
        }
    }

    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'_>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'_>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'_, '_>, _: ImageDrawProps<'_>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
