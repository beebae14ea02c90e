//! Variable-length integers: seven bits a byte, least significant first (LEB128, as protobuf's varints).

/// The longest integer.
pub const MAX_VARINT_BYTES: usize = 10;

/// Appends an unsigned integer.
pub fn put_u64(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push((v as u8) | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends a signed integer in zigzag form, so that small negative numbers stay short.
pub fn put_i64(out: &mut Vec<u8>, v: i64) {
    put_u64(out, ((v << 1) ^ (v >> 63)) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Takes an unsigned integer off the front of `input`; `None` if it is cut off or longer than 64 bits.
pub fn take_u64(input: &mut &[u8]) -> Option<u64> {
    let mut v = 0u64;
    for (i, b) in input.iter().enumerate().take(MAX_VARINT_BYTES) {
        if i == 9 && *b > 1 {
            return None;
        }
        v |= u64::from(b & 0x7f) << (7 * i);
        if b & 0x80 == 0 {
            *input = input.get(i + 1..)?;
            return Some(v);
        }
    }
    None
}

/// Takes a zigzag integer off the front of `input`.
pub fn take_i64(input: &mut &[u8]) -> Option<i64> {
    let u = take_u64(input)?;
    Some(((u >> 1) as i64) ^ -((u & 1) as i64))
}

/// Takes a length and so many bytes off the front of `input`.
pub fn take_bytes<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let n = usize::try_from(take_u64(input)?).ok()?;
    let (head, tail) = input.split_at_checked(n)?;
    *input = tail;
    Some(head)
}

/// [`take_bytes`] that must be UTF-8.
pub fn take_str<'a>(input: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(input)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut out = Vec::new();
        let numbers = [0, 1, -1, 63, -64, 64, i64::MAX, i64::MIN];
        for n in numbers {
            put_i64(&mut out, n);
            put_u64(&mut out, n as u64);
        }
        put_bytes(&mut out, "text".as_bytes());
        let mut input = out.as_slice();
        for n in numbers {
            assert_eq!((take_i64(&mut input), take_u64(&mut input)), (Some(n), Some(n as u64)));
        }
        assert_eq!(take_str(&mut input), Some("text"));
        assert_eq!(take_u64(&mut input), None);
        assert_eq!(take_u64(&mut [0xff; 12].as_slice()), None);
        assert_eq!(take_bytes(&mut [5, 1].as_slice()), None);
    }
}
