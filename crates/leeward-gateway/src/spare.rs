//! Buffers for heads, kept by each core from one request to the next: to ask for one costs a request more than to fill it.

use std::cell::RefCell;

/// Buffers that a core keeps: as many as requests that it has on their way at a busy time. At [`BYTES_MAX`] each they are 2 MiB.
const KEPT_MAX: usize = 256;
/// A buffer that grew beyond this, since a body was copied behind its head, is not kept.
const BYTES_MAX: usize = 8 * 1_024;
/// What a new buffer has room for: most heads.
const BYTES_NEW: usize = 2 * 1_024;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer.
pub(crate) fn take() -> Vec<u8> {
    // At the end of a thread there are none any more.
    let spare = SPARE.try_with(|spare| spare.borrow_mut().pop()).ok().flatten();
    spare.unwrap_or_else(|| Vec::with_capacity(BYTES_NEW))
}

/// Gives a buffer back.
pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if !(BYTES_NEW..=BYTES_MAX).contains(&buffer.capacity()) {
        return;
    }
    buffer.clear();
    let _at_the_end = SPARE.try_with(|spare| {
        let mut spare = spare.borrow_mut();
        if spare.len() < KEPT_MAX {
            spare.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_is_taken_again_and_is_empty() {
        let mut buffer = take();
        buffer.extend_from_slice(b"secret");
        let place = buffer.as_ptr();
        give_back(buffer);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (place, 0));
    }

    #[test]
    fn neither_too_large_nor_too_many_are_kept() {
        let kept = || SPARE.with_borrow(Vec::len);
        give_back(Vec::new());
        give_back(Vec::with_capacity(BYTES_MAX + 1));
        assert_eq!(kept(), 0);
        (0..KEPT_MAX + 1).for_each(|_| give_back(Vec::with_capacity(BYTES_NEW)));
        assert_eq!(kept(), KEPT_MAX);
    }
}
