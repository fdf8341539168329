//! Which names of a sender are taken: those that stay in the folder of the receiver, and that can be shown.

use crate::hidden;

/// What stands behind the name of a file that is not whole yet.
pub const PART: &str = ".comity-part";

/// Longest path, bytes.
pub const PATH_MAX: usize = 1024;

/// Deepest path, names.
pub const DEPTH_MAX: usize = 64;

/// Longest single name, bytes: what file systems take, and room for [`PART`].
pub const NAME_MAX: usize = 255 - PART.len();

/// Why a path is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// Nothing, too long, or too deep.
    #[error("a path has 1 to {PATH_MAX} bytes and at most {DEPTH_MAX} names")]
    Length,
    /// A name in it is empty or too long; a path that begins at the root has an empty one.
    #[error("a name has 1 to {NAME_MAX} bytes, and no path begins at the root")]
    NameLength,
    /// `.` or `..`.
    #[error("a path leads down, never up")]
    Up,
    /// Characters that cannot be shown, or with which it looks like another one.
    #[error("a name has no control characters, and none that are not seen or turn the direction of writing")]
    Control,
    /// The first name begins with a dot: it may be one that programs obey.
    #[error("what begins with a dot is not taken at the top")]
    Hidden,
    /// It ends as files do that are not whole yet.
    #[error("names that end in {PART} belong to the receiver")]
    Part,
}

/// The names of a path, if it is taken.
pub fn parts(path: &str) -> Result<Vec<&str>, BadName> {
    if path.is_empty() || path.len() > PATH_MAX {
        return Err(BadName::Length);
    }
    let names: Vec<&str> = path.split('/').collect();
    if names.len() > DEPTH_MAX {
        return Err(BadName::Length);
    }
    for name in &names {
        match *name {
            "." | ".." => return Err(BadName::Up),
            name if name.is_empty() || name.len() > NAME_MAX => return Err(BadName::NameLength),
            name if name.chars().any(deceives) => return Err(BadName::Control),
            name if name.ends_with(PART) => return Err(BadName::Part),
            _ => {}
        }
    }
    if names[0].starts_with('.') {
        return Err(BadName::Hidden);
    }
    Ok(names)
}

/// Whether a name with this character can look like another. The two joiners, and what chooses a form, are part of how
/// several scripts, and emoji, are written.
fn deceives(c: char) -> bool {
    hidden::is_hidden(c) && !hidden::is_variation(c) && !matches!(c, '\u{200c}' | '\u{200d}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_stays_below_is_taken() {
        for path in [
            "a",
            "a/b.c/d",
            "a/.git/config",
            "with space",
            "ünï",
            "a..b",
            "a/..b",
            "C:\\x",
            "-rf",
            "می\u{200c}خواهم",
            "❤\u{fe0f}",
        ] {
            assert!(parts(path).is_ok(), "{path}");
        }
        assert_eq!(parts("a/b"), Ok(vec!["a", "b"]));
        assert!(parts(&"x".repeat(NAME_MAX)).is_ok());
    }

    #[test]
    fn a_path_that_leaves_or_cannot_be_shown_is_not() {
        for (path, why) in [
            ("", BadName::Length),
            ("../../etc/passwd", BadName::Up),
            ("a/../../b", BadName::Up),
            ("a/.", BadName::Up),
            ("..", BadName::Up),
            ("/dev/null", BadName::NameLength),
            ("/", BadName::NameLength),
            ("a//b", BadName::NameLength),
            ("a/", BadName::NameLength),
            ("a\0b", BadName::Control),
            ("a\u{1b}[2Jb", BadName::Control),
            ("a\nb", BadName::Control),
            ("gpj\u{202e}.exe", BadName::Control),
            ("a/b\u{200b}", BadName::Control),
            ("\u{feff}a", BadName::Control),
            (".bashrc", BadName::Hidden),
            (".ssh/authorized_keys", BadName::Hidden),
            ("a.comity-part", BadName::Part),
            ("a/.comity-part", BadName::Part),
        ] {
            assert_eq!(parts(path), Err(why), "{path:?}");
        }
        assert_eq!(parts(&"x".repeat(NAME_MAX + 1)), Err(BadName::NameLength));
        assert_eq!(parts(&"x/".repeat(PATH_MAX)), Err(BadName::Length));
        assert_eq!(parts(&["x"; DEPTH_MAX + 1].join("/")), Err(BadName::Length));
    }
}
