//! The words of man pages: roff with the macros `man` or `mdoc`, of which only what stands between
//! words is understood. It is no typesetter: conditions are not weighed and strings not defined.

use super::flow::{Flow, Taken};

/// The words of a man page. Its title is what its first section says, which is its name and what
/// it is for.
pub(super) fn taken(roff: &str) -> Taken {
    let mut page =
        Page { flow: Flow::new(), title: String::new(), sections: 0, skip: None, about: String::new(), table: false };
    for line in roff.lines() {
        if page.flow.is_full() {
            break;
        }
        page.line(line);
    }
    let Page { flow, title, .. } = page;
    Taken { title: Some(title).filter(|title| !title.is_empty()), ..flow.finish() }
}

/// What has been read of a page.
struct Page {
    flow: Flow,
    title: String,
    sections: u32,
    /// The request that ends what is being skipped.
    skip: Option<String>,
    /// What `mdoc` calls the thing that the page is about, after it was said once.
    about: String,
    /// Whether the layout of a table is being described.
    table: bool,
}

/// The most bytes of the first section that are taken for the title.
const NAME_MAX: usize = 400;

impl Page {
    fn line(&mut self, line: &str) {
        let request = line.strip_prefix(['.', '\'']).map(|request| commented(request).trim_start());
        if let Some(end) = &self.skip {
            if request.is_some_and(|request| request.split_whitespace().next() == Some(end)) {
                self.skip = None;
            }
            return;
        }
        if self.table {
            self.table = !line.trim_end().ends_with('.');
            return;
        }
        match request {
            Some(request) => self.request(request),
            None if line.trim().is_empty() => self.flow.paragraph(),
            None => self.text(line),
        }
    }

    fn request(&mut self, request: &str) {
        let end = request.find([' ', '\t']).unwrap_or(request.len());
        let (name, rest) = (&request[..end], request[end..].trim());
        match name {
            "SH" | "Sh" | "SS" | "Ss" => {
                self.flow.paragraph();
                if name.eq_ignore_ascii_case("sh") && !rest.is_empty() {
                    self.sections += 1;
                }
                self.flow.words(&plain(&arguments(rest).join(" ")));
                self.flow.line();
            }
            "de" | "de1" | "am" | "ami" | "dei" => {
                self.skip = Some(rest.split_whitespace().nth(1).unwrap_or(".").to_owned())
            }
            "ig" => self.skip = Some(rest.split_whitespace().next().unwrap_or(".").to_owned()),
            "EQ" => self.skip = Some("EN".to_owned()),
            "TS" => self.table = true,
            "PP" | "P" | "LP" | "Pp" | "TP" | "TQ" | "HP" | "sp" | "Bl" | "El" | "RS" | "RE" | "TE" => {
                self.flow.paragraph()
            }
            "IP" => {
                self.flow.paragraph();
                self.text(arguments(rest).first().map_or("", String::as_str));
                self.flow.line();
            }
            "br" | "nf" | "fi" | "EX" | "EE" | "Bd" | "Ed" => self.flow.line(),
            "B" | "I" | "R" | "SM" | "SB" => self.text(&arguments(rest).join(" ")),
            "BR" | "RB" | "BI" | "IB" | "RI" | "IR" | "OP" => self.text(&arguments(rest).concat()),
            "UR" | "MT" | "UE" | "ME" => self.text(rest),
            "It" => {
                self.flow.paragraph();
                self.mdoc("", rest);
                self.flow.line();
            }
            "Nd" => {
                self.text("-");
                self.mdoc("", rest);
            }
            _ if is_mdoc(name) => self.mdoc(name, rest),
            _ => {}
        }
    }

    /// A macro of `mdoc` with its arguments, of which some are macros themselves.
    fn mdoc(&mut self, name: &str, rest: &str) {
        let mut line = String::new();
        let mut arguments = arguments(rest).into_iter().peekable();
        let (mut open, mut apart) = (name.to_owned(), true);
        loop {
            // What a macro says of itself, before the words that follow it.
            match open.as_str() {
                "Nm" if arguments.peek().is_none_or(|word| is_mdoc(word) || closes(word)) => {
                    push(&mut line, &self.about, apart)
                }
                "Fl" => push(&mut line, "-", apart),
                "Ux" => push(&mut line, "UNIX", apart),
                _ => {}
            }
            apart = !matches!(open.as_str(), "Fl" | "Ns" | "Pf" | "Ap");
            let mut words = 0;
            while let Some(word) = arguments.next_if(|word| !is_mdoc(word)) {
                if open == "Nm" && self.about.is_empty() {
                    self.about.clone_from(&word);
                }
                if open == "Xr" && words == 1 && !closes(&word) {
                    push(&mut line, &format!("({word})"), false);
                } else {
                    push(&mut line, &word, apart && !closes(&word));
                }
                (apart, words) = (true, words + 1);
            }
            let Some(next) = arguments.next() else { break };
            open = next;
        }
        self.text(&line);
    }

    fn text(&mut self, text: &str) {
        let text = plain(text);
        if self.sections == 1 && self.title.len() < NAME_MAX {
            self.title.push(' ');
            self.title.push_str(&text);
        }
        self.flow.space();
        self.flow.words(&text);
    }
}

/// The macros of `mdoc` that carry words, and those that stand among them.
fn is_mdoc(name: &str) -> bool {
    const CARRIES: &[&str] = &[
        "Ac", "Ad", "An", "Ao", "Ap", "Aq", "Ar", "At", "Bc", "Bo", "Bq", "Brc", "Bro", "Brq", "Cd", "Cm", "D1", "Dc",
        "Dl", "Do", "Dq", "Dv", "Ec", "Em", "En", "Eo", "Er", "Ev", "Fa", "Fc", "Fl", "Fn", "Fo", "Fr", "Ft", "Fx",
        "Ic", "In", "Lb", "Li", "Lk", "Lp", "Ms", "Mt", "Nm", "No", "Ns", "Nx", "Oc", "Oo", "Op", "Ot", "Ox", "Pa",
        "Pc", "Pf", "Po", "Pq", "Qc", "Ql", "Qo", "Qq", "Sc", "So", "Sq", "St", "Sx", "Sy", "Ta", "Tn", "Ux", "Va",
        "Vt", "Xc", "Xo", "Xr",
    ];
    CARRIES.contains(&name)
}

/// A request without the comment that ends it.
fn commented(request: &str) -> &str {
    request.split_once("\\\"").map_or(request, |(said, _)| said)
}

/// Whether a word is only a mark that stands close to what is before it.
fn closes(word: &str) -> bool {
    matches!(word, "." | "," | ":" | ";" | ")" | "]" | "?" | "!")
}

fn push(line: &mut String, word: &str, apart: bool) {
    if apart && !line.is_empty() {
        line.push(' ');
    }
    line.push_str(word);
}

/// The arguments of a request: words, of which those in quotes hold blanks.
fn arguments(rest: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut chars = rest.chars().peekable();
    loop {
        while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let Some(first) = chars.peek() else { return arguments };
        let quoted = *first == '"';
        if quoted {
            chars.next();
        }
        let mut argument = String::new();
        while let Some(c) = chars.next() {
            match c {
                // Two quotes within quotes are one that is meant.
                '"' if quoted && chars.next_if_eq(&'"').is_none() => break,
                ' ' | '\t' if !quoted => break,
                '\\' => {
                    argument.push(c);
                    argument.extend(chars.next());
                }
                c => argument.push(c),
            }
        }
        arguments.push(argument);
    }
}

/// A line without its escapes.
fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            if escape(&mut chars, &mut text).is_none() {
                break;
            }
        } else {
            text.push(c);
        }
    }
    text
}

/// Reads what follows a backslash; `None` where the rest of the line is a comment.
fn escape(chars: &mut std::str::Chars<'_>, text: &mut String) -> Option<()> {
    match chars.next()? {
        '"' | '#' => return None,
        '(' => text.push_str(special(&chars.take(2).collect::<String>())),
        '[' => text.push_str(special(&chars.take_while(|c| *c != ']').collect::<String>())),
        '*' => {
            let name = bracketed(chars);
            text.push_str(special(&name));
        }
        'f' | 'F' | 'n' | 'm' | 'M' | 'g' | 'k' | 'V' | 'Y' => {
            bracketed(chars);
        }
        's' => size(chars),
        'h' | 'v' | 'w' | 'l' | 'L' | 'D' | 'b' | 'o' | 'x' | 'X' | 'Z' | 'A' | 'R' | 'N' | 'S' | 'H' | 'C' => {
            let delimiter = chars.next()?;
            chars.find(|c| *c == delimiter);
        }
        'e' | 'E' | '\\' => text.push('\\'),
        '-' => text.push('-'),
        '~' | ' ' | '0' => text.push(' '),
        't' => text.push('\t'),
        '\'' => text.push('\''),
        '`' => text.push('`'),
        '.' => text.push('.'),
        _ => {}
    }
    Some(())
}

/// The size of letters, which an escape names in one of five ways.
fn size(chars: &mut std::str::Chars<'_>) {
    let mut rest = chars.clone();
    match rest.next() {
        Some('+' | '-') => {
            rest.next();
        }
        Some('[') => {
            rest.find(|c| *c == ']');
        }
        Some('(') => {
            rest.nth(1);
        }
        _ => {}
    }
    *chars = rest;
}

/// A name of one character, of two after `(`, or of any in brackets.
fn bracketed(chars: &mut std::str::Chars<'_>) -> String {
    match chars.next() {
        Some('(') => chars.take(2).collect(),
        Some('[') => chars.take_while(|c| *c != ']').collect(),
        Some(c) => c.to_string(),
        None => String::new(),
    }
}

/// The special characters that man pages use most; others separate words at least.
fn special(name: &str) -> &'static str {
    match name {
        "aq" | "oq" | "cq" | "'" => "'",
        "dq" | "lq" | "rq" | "Lq" | "Rq" | "L\"" | "R\"" | "C\"" | "C'" | "C`" => "\"",
        "ha" => "^",
        "ti" => "~",
        "rs" => "\\",
        "at" => "@",
        "sh" => "#",
        "Do" => "$",
        "ga" => "`",
        "em" => "—",
        "en" => "–",
        "hy" | "mi" => "-",
        "bu" => "•",
        "co" => "©",
        "R" | "rg" => "®",
        "->" => "→",
        "<-" => "←",
        "+-" => "±",
        ">=" => "≥",
        "<=" => "≤",
        "ss" => "ß",
        ":a" => "ä",
        ":o" => "ö",
        ":u" => "ü",
        ":A" => "Ä",
        ":O" => "Ö",
        ":U" => "Ü",
        "'e" => "é",
        "`e" => "è",
        "`a" => "à",
        "'a" => "á",
        "'o" => "ó",
        ",c" => "ç",
        "~n" => "ñ",
        "oA" => "Å",
        "oa" => "å",
        "/o" => "ø",
        _ => " ",
    }
}
