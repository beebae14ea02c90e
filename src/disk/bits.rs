//! Streams of bits, most significant first.

/// Appends the low `n` bits of `value` (`n` up to 64). `free` is how many bits of the last byte are not used yet.
#[inline]
pub fn put_bits(out: &mut Vec<u8>, free: &mut u8, value: u64, n: u32) {
    if n == 0 {
        return;
    }
    let value = value & (u64::MAX >> (64 - n));
    let room = u32::from(*free);
    if n <= room {
        if let Some(last) = out.last_mut() {
            *last |= (value << (room - n)) as u8;
        }
        *free -= n as u8;
        return;
    }
    let rest = n - room;
    if room > 0
        && let Some(last) = out.last_mut()
    {
        *last |= (value >> rest) as u8;
    }
    // What does not fit into the last byte goes out as whole bytes at once.
    let aligned = (value << (64 - rest)).to_be_bytes();
    let bytes = rest.div_ceil(8) as usize;
    let end = out.len() + bytes;
    if out.capacity() - out.len() >= aligned.len() {
        // A whole word costs less to write than a length that is known only now.
        out.extend_from_slice(&aligned);
        out.truncate(end);
    } else {
        out.extend_from_slice(aligned.get(..bytes).unwrap_or_default());
    }
    *free = (bytes * 8) as u8 - rest as u8;
}

/// Reads bits from bytes. Reading past the end yields `None`.
pub struct BitReader<'a> {
    bytes: &'a [u8],
    /// Position in bits.
    at: usize,
}

impl<'a> BitReader<'a> {
    /// Starts at the first bit.
    pub fn new(bytes: &'a [u8]) -> Self {
        BitReader { bytes, at: 0 }
    }

    /// The next 57 bits or more, left-aligned; bits past the end are zero.
    #[inline]
    pub(crate) fn window(&self) -> u64 {
        let byte = self.at >> 3;
        let word = match self.bytes.get(byte..).and_then(|rest| rest.first_chunk::<8>()) {
            Some(b) => u64::from_be_bytes(*b),
            None => self.last_bytes(byte),
        };
        word << (self.at & 7)
    }

    /// The last bytes, filled up with zeros. Apart, because it happens once in a chunk.
    #[cold]
    #[inline(never)]
    fn last_bytes(&self, from: usize) -> u64 {
        let mut padded = [0u8; 8];
        for (to, from) in padded.iter_mut().zip(self.bytes.get(from..).unwrap_or_default()) {
            *to = *from;
        }
        u64::from_be_bytes(padded)
    }

    /// Passes over `n` bits, past the end too; [`Self::is_inside`] tells.
    #[inline]
    pub(crate) fn skip(&mut self, n: u32) {
        self.at += n as usize;
    }

    /// Whether nothing past the end has been passed over.
    #[inline]
    pub(crate) fn is_inside(&self) -> bool {
        self.at <= self.bytes.len() * 8
    }

    #[inline]
    fn advance(&mut self, n: u32) -> Option<()> {
        self.skip(n);
        self.is_inside().then_some(())
    }

    /// The next `n` bits, up to 64.
    #[inline]
    pub fn take(&mut self, n: u32) -> Option<u64> {
        if n == 0 {
            return Some(0);
        }
        if n > 56 {
            let high = self.take(n - 32)?;
            return Some((high << 32) | self.take(32)?);
        }
        let v = self.window() >> (64 - n);
        self.advance(n)?;
        Some(v)
    }

    /// Counts one bits up to the first zero bit (which is consumed) or up to `max` of them.
    #[inline]
    pub fn take_ones(&mut self, max: u32) -> Option<u32> {
        let ones = self.window().leading_ones().min(max);
        self.advance(if ones < max { ones + 1 } else { ones })?;
        Some(ones)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bits_come_back(parts in prop::collection::vec((any::<u64>(), 1u32..=64), 0..100)) {
            let (mut out, mut free) = (Vec::new(), 0);
            for (v, n) in &parts {
                put_bits(&mut out, &mut free, *v, *n);
            }
            let mut r = BitReader::new(&out);
            for (v, n) in &parts {
                prop_assert_eq!(r.take(*n), Some(v & (u64::MAX >> (64 - n))));
            }
            prop_assert_eq!(r.take(64), None);
        }
    }

    #[test]
    fn ones_are_counted_to_the_first_zero() {
        let mut r = BitReader::new(&[0b1101_1110]);
        assert_eq!((r.take_ones(4), r.take_ones(4), r.take_ones(4)), (Some(2), Some(4), Some(0)));
        assert_eq!(r.take_ones(4), None);
    }
}
