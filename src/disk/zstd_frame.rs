//! Decompresses zstd frames that campanile wrote itself.

use std::cell::RefCell;

use zstd::bulk::Decompressor;

thread_local! {
    /// Making a context costs more than decompressing what a column or a small record has.
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// The content of a frame, at most `max` bytes. `None` if it is not one, or holds more.
pub fn decompress(frame: &[u8], max: usize) -> Option<Vec<u8>> {
    CONTEXT.with_borrow_mut(|context| {
        if context.is_none() {
            *context = Decompressor::new().ok();
        }
        context.as_mut()?.decompress(frame, max).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_after_damaged_ones_too() {
        let frame = zstd::bulk::compress(&[7; 5000], 1).unwrap();
        for _ in 0..2 {
            assert_eq!(decompress(&frame, 5000), Some(vec![7; 5000]));
            assert_eq!(decompress(&frame, 4999), None);
            assert_eq!(decompress(frame.get(..frame.len() - 1).unwrap(), 5000), None);
            assert_eq!(decompress(b"no frame", 5000), None);
        }
    }
}
