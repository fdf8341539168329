//! Texts drawn from patterns by a seed: what a pattern matches, and no secret that anybody has.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A generator of numbers (SplitMix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, most: usize) -> usize {
        (self.roll() % most.max(1) as u64) as usize
    }

    pub(super) fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    pub(super) fn letters(&mut self, length: usize) -> String {
        const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..length).map(|_| char::from(LETTERS[self.below(LETTERS.len())])).collect()
    }
}

/// What a pattern matches, with its first group between `«` and `»`.
pub(super) fn drawn(pattern: &str, dice: &mut Dice) -> String {
    let parsed = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build().parse(pattern).unwrap();
    let mut out = Vec::new();
    draw(&parsed, dice, &mut out);
    String::from_utf8(out).unwrap()
}

fn draw(hir: &Hir, dice: &mut Dice, out: &mut Vec<u8>) {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => {}
        HirKind::Literal(literal) => out.extend_from_slice(&literal.0),
        HirKind::Class(class) => out.push(draw_class(class, dice)),
        HirKind::Repetition(repetition) => {
            let most = repetition.max.unwrap_or(repetition.min + 6).min(repetition.min + 6);
            let times = repetition.min + u32::try_from(dice.below((most - repetition.min + 1) as usize)).unwrap();
            (0..times).for_each(|_| draw(&repetition.sub, dice, out));
        }
        HirKind::Capture(capture) => {
            out.extend("«".bytes());
            draw(&capture.sub, dice, out);
            out.extend("»".bytes());
        }
        HirKind::Concat(parts) => parts.iter().for_each(|part| draw(part, dice, out)),
        HirKind::Alternation(choices) => draw(&choices[dice.below(choices.len())], dice, out),
    }
}

fn draw_class(class: &Class, dice: &mut Dice) -> u8 {
    let class = match class {
        Class::Bytes(class) => class.clone(),
        Class::Unicode(class) => class.to_byte_class().expect("patterns are of ASCII"),
    };
    // What is read on a line, and neither separates nor masks.
    let visible: Vec<u8> = class
        .iter()
        .flat_map(|range| range.start()..=range.end())
        .filter(|byte| byte.is_ascii_alphanumeric())
        .collect();
    let any: Vec<u8> = class.iter().flat_map(|range| range.start()..=range.end()).filter(u8::is_ascii).collect();
    let from = if visible.is_empty() { any } else { visible };
    from[dice.below(from.len())]
}
