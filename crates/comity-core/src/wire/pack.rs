//! MessagePack as compact payloads use it: string keys, no extension types, each key once,
//! bounded depth. Checking allocates nothing for maps of the usual size.

use crate::limits;
use crate::wire::strict::VALUES_MAX;
use foldhash::fast::FixedState;
use hashbrown::HashSet;
use serde_json::{Map, Number, Value};
use std::{io, str};

/// Maps of up to so many keys are searched for duplicates on the stack.
const KEYS_ON_STACK: usize = 16;

/// Why bytes are not MessagePack as this module wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPack {
    /// They end too early, or a length says more than there is.
    #[error("cut short")]
    Cut,
    /// There is more after the value.
    #[error("bytes after the end")]
    Trailing,
    /// A type that is reserved or an extension.
    #[error("extension type")]
    Extension,
    /// A map key that is not a string.
    #[error("a key that is not a string")]
    KeyNotText,
    /// A map key that appears twice.
    #[error("a key that appears twice")]
    DuplicateKey,
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// Nested deeper than [`limits::PAYLOAD_DEPTH_MAX`].
    #[error("nested too deeply")]
    TooDeep,
    /// More than [`VALUES_MAX`] values.
    #[error("too many values")]
    TooManyValues,
}

/// Checks that the bytes are exactly one value of the allowed kinds.
pub fn check(bytes: &[u8]) -> Result<(), BadPack> {
    let mut reader = Reader { rest: bytes, values: 0 };
    reader.check(limits::PAYLOAD_DEPTH_MAX)?;
    if reader.rest.is_empty() { Ok(()) } else { Err(BadPack::Trailing) }
}

/// The value of bytes that [`check`] found good; `Null` for others. Binary reads as base64url text, numbers that JSON
/// does not have as `Null`.
pub fn to_value(bytes: &[u8]) -> Value {
    if check(bytes).is_err() {
        return Value::Null;
    }
    Reader { rest: bytes, values: 0 }.value().unwrap_or(Value::Null)
}

/// MessagePack of a JSON value.
pub fn from_value(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(expected(value));
    write(value, &mut out).expect("writing to a vector does not fail");
    out
}

/// About as many bytes as the value needs, so that the vector rarely grows: never much too many.
fn expected(value: &Value) -> usize {
    const HEAD: usize = 5;
    match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Number(_) => 9,
        Value::String(text) => HEAD + text.len(),
        Value::Array(items) => HEAD + items.iter().map(expected).sum::<usize>(),
        Value::Object(members) => {
            HEAD + members.iter().map(|(key, value)| HEAD + key.len() + expected(value)).sum::<usize>()
        }
    }
}

fn write(value: &Value, out: &mut Vec<u8>) -> io::Result<()> {
    use rmp::encode;
    // serde_json counts in usize; no Value in memory has 2^32 members.
    let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    match value {
        Value::Null => encode::write_nil(out)?,
        Value::Bool(flag) => encode::write_bool(out, *flag)?,
        Value::Number(number) => match (number.as_u64(), number.as_i64()) {
            (Some(integer), _) => encode::write_uint(out, integer).map(drop)?,
            (_, Some(integer)) => encode::write_sint(out, integer).map(drop)?,
            _ => encode::write_f64(out, number.as_f64().unwrap_or_default())?,
        },
        Value::String(text) => encode::write_str(out, text)?,
        Value::Array(items) => {
            encode::write_array_len(out, count(items.len()))?;
            items.iter().try_for_each(|item| write(item, out))?;
        }
        Value::Object(members) => {
            encode::write_map_len(out, count(members.len()))?;
            for (key, value) in members {
                encode::write_str(out, key)?;
                write(value, out)?;
            }
        }
    }
    Ok(())
}

/// What stands next in the bytes; arrays and maps are followed by their contents.
enum Token<'a> {
    Nil,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    Array(usize),
    Map(usize),
}

struct Reader<'a> {
    rest: &'a [u8],
    values: usize,
}

impl<'a> Reader<'a> {
    fn check(&mut self, depth: usize) -> Result<(), BadPack> {
        match self.token()? {
            Token::Array(length) => {
                let depth = depth.checked_sub(1).ok_or(BadPack::TooDeep)?;
                (0..length).try_for_each(|_| self.check(depth))
            }
            Token::Map(length) => {
                let depth = depth.checked_sub(1).ok_or(BadPack::TooDeep)?;
                self.check_map(length, depth)
            }
            _ => Ok(()),
        }
    }

    fn check_map(&mut self, length: usize, depth: usize) -> Result<(), BadPack> {
        let mut few = [""; KEYS_ON_STACK];
        let mut many: HashSet<&str, FixedState> = HashSet::default();
        for position in 0..length {
            let key = self.key()?;
            let twice = if length <= KEYS_ON_STACK {
                let twice = few[..position].contains(&key);
                few[position] = key;
                twice
            } else {
                !many.insert(key)
            };
            if twice {
                return Err(BadPack::DuplicateKey);
            }
            self.check(depth)?;
        }
        Ok(())
    }

    fn value(&mut self) -> Result<Value, BadPack> {
        Ok(match self.token()? {
            Token::Nil => Value::Null,
            Token::Bool(flag) => Value::Bool(flag),
            Token::Unsigned(integer) => Value::from(integer),
            Token::Signed(integer) => Value::from(integer),
            Token::Float(float) => Number::from_f64(float).map_or(Value::Null, Value::Number),
            Token::Text(text) => Value::from(text),
            Token::Binary(bytes) => Value::String(crate::id::encode_base64(bytes)),
            Token::Array(length) => Value::Array((0..length).map(|_| self.value()).collect::<Result<_, _>>()?),
            Token::Map(length) => {
                let mut members = Map::with_capacity(length);
                for _ in 0..length {
                    members.insert(self.key()?.to_owned(), self.value()?);
                }
                Value::Object(members)
            }
        })
    }

    fn key(&mut self) -> Result<&'a str, BadPack> {
        if let Token::Text(key) = self.token()? { Ok(key) } else { Err(BadPack::KeyNotText) }
    }

    fn token(&mut self) -> Result<Token<'a>, BadPack> {
        self.values += 1;
        if self.values > VALUES_MAX {
            return Err(BadPack::TooManyValues);
        }
        let [marker] = self.take_array()?;
        let low = usize::from(marker & 0x0f);
        Ok(match marker {
            0x00..=0x7f => Token::Unsigned(marker.into()),
            0x80..=0x8f => self.many(low, Token::Map)?,
            0x90..=0x9f => self.many(low, Token::Array)?,
            0xa0..=0xbf => self.text(usize::from(marker & 0x1f))?,
            0xc0 => Token::Nil,
            0xc1 | 0xc7..=0xc9 | 0xd4..=0xd8 => return Err(BadPack::Extension),
            0xc2 => Token::Bool(false),
            0xc3 => Token::Bool(true),
            0xc4 | 0xd9 => self.bytes_or_text(marker == 0xd9, 1)?,
            0xc5 | 0xda => self.bytes_or_text(marker == 0xda, 2)?,
            0xc6 | 0xdb => self.bytes_or_text(marker == 0xdb, 4)?,
            0xca => Token::Float(f32::from_be_bytes(self.take_array()?).into()),
            0xcb => Token::Float(f64::from_be_bytes(self.take_array()?)),
            0xcc => Token::Unsigned(self.number(1)?),
            0xcd => Token::Unsigned(self.number(2)?),
            0xce => Token::Unsigned(self.number(4)?),
            0xcf => Token::Unsigned(self.number(8)?),
            0xd0 => Token::Signed(i8::from_be_bytes(self.take_array()?).into()),
            0xd1 => Token::Signed(i16::from_be_bytes(self.take_array()?).into()),
            0xd2 => Token::Signed(i32::from_be_bytes(self.take_array()?).into()),
            0xd3 => Token::Signed(i64::from_be_bytes(self.take_array()?)),
            0xdc => self.counted(2, Token::Array)?,
            0xdd => self.counted(4, Token::Array)?,
            0xde => self.counted(2, Token::Map)?,
            0xdf => self.counted(4, Token::Map)?,
            0xe0..=0xff => Token::Signed(i8::from_be_bytes([marker]).into()),
        })
    }

    fn counted(&mut self, width: usize, token: fn(usize) -> Token<'a>) -> Result<Token<'a>, BadPack> {
        let length = self.length(width)?;
        self.many(length, token)
    }

    /// An array or map whose contents can be there: each member takes a byte at least.
    fn many(&self, length: usize, token: fn(usize) -> Token<'a>) -> Result<Token<'a>, BadPack> {
        if length > self.rest.len() { Err(BadPack::Cut) } else { Ok(token(length)) }
    }

    fn bytes_or_text(&mut self, text: bool, width: usize) -> Result<Token<'a>, BadPack> {
        let length = self.length(width)?;
        if text { self.text(length) } else { self.take(length).map(Token::Binary) }
    }

    fn text(&mut self, length: usize) -> Result<Token<'a>, BadPack> {
        str::from_utf8(self.take(length)?).map(Token::Text).map_err(|_| BadPack::NotUtf8)
    }

    fn length(&mut self, width: usize) -> Result<usize, BadPack> {
        usize::try_from(self.number(width)?).map_err(|_| BadPack::Cut)
    }

    fn number(&mut self, width: usize) -> Result<u64, BadPack> {
        Ok(self.take(width)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn take_array<const N: usize>(&mut self) -> Result<[u8; N], BadPack> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(BadPack::Cut)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], BadPack> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or(BadPack::Cut)?;
        self.rest = rest;
        Ok(head)
    }
}

#[cfg(test)]
mod tests;
