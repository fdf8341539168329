//! A stream of JSON values, one a line, as the control door writes it. Empty lines only say that
//! the node is still there.

use crate::Error;
use crate::idle::Streamed;
use bytes::{Buf, BytesMut};
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// Longest line that is read, bytes: the largest result of a tool, and what stands around it.
const LINE_MAX: usize = 17 * 1024 * 1024;

/// A stream of values from the node; dropping it ends it.
#[derive(Debug)]
pub struct Lines<T> {
    body: Streamed,
    read: BytesMut,
    searched: usize,
    shape: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(crate) fn new(body: Streamed) -> Self {
        Self { body, read: BytesMut::new(), searched: 0, shape: PhantomData }
    }

    /// The next value; `None` when the node has ended the stream, or has itself ended. May be given up at any time
    /// without losing anything.
    pub async fn next(&mut self) -> Result<Option<T>, Error> {
        loop {
            while let Some(line) = self.line() {
                if !line.is_empty() {
                    let value = serde_json::from_slice(&line);
                    return value.map(Some).map_err(|wrong| Error::NotUnderstood(wrong.to_string()));
                }
            }
            if self.read.len() > LINE_MAX {
                return Err(Error::NotUnderstood(format!("a line of more than {LINE_MAX} bytes")));
            }
            match self.body.frame().await {
                // Err: nothing else breaks a connection within one machine.
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => self.read.extend_from_slice(frame.data_ref().map_or(&[], |data| data.chunk())),
            }
        }
    }

    /// The next whole line, without its end.
    fn line(&mut self) -> Option<BytesMut> {
        let Some(end) = self.read[self.searched..].iter().position(|byte| *byte == b'\n') else {
            self.searched = self.read.len();
            return None;
        };
        let line = self.read.split_to(self.searched + end);
        self.read.advance(1);
        self.searched = 0;
        Some(line)
    }
}
