//! How many bytes the rules look at besides the filter's walk: counted in tests alone, so that a test of what a
//! text costs measures no clock. What is counted is what a rule may read at most, before it reads.

#[cfg(test)]
thread_local! {
    static STEPS: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// So many bytes are looked at.
#[inline]
pub(super) fn look(bytes: usize) {
    #[cfg(test)]
    STEPS.with(|steps| steps.set(steps.get().saturating_add(bytes)));
    #[cfg(not(test))]
    let _ = bytes;
}

/// How many were looked at since this was asked last.
#[cfg(test)]
pub(super) fn taken() -> usize {
    STEPS.with(std::cell::Cell::take)
}
