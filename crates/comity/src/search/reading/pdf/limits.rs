//! What the process that reads one PDF may use.

use rustix::process::{Resource, Rlimit, setrlimit};
use std::io;

/// All the memory it may map, bytes: a PDF of thousands of pages takes a tenth of it.
const MEMORY_MAX: u64 = 1 << 30;

/// How long it may keep a processor busy, seconds: a thousand pages take two.
const PROCESSOR_MAX: u64 = 10;

/// Limits this process; there is no way back.
pub(super) fn set() -> io::Result<()> {
    lower(Resource::As, MEMORY_MAX, MEMORY_MAX)?;
    // The signal that ends it comes at the first of both, and says why; the second is for sure.
    lower(Resource::Cpu, PROCESSOR_MAX, PROCESSOR_MAX + 1)?;
    // Its end is expected: nobody looks at what it had in memory.
    lower(Resource::Core, 0, 0)
}

fn lower(resource: Resource, soft: u64, hard: u64) -> io::Result<()> {
    Ok(setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?)
}
