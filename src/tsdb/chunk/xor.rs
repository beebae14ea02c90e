//! The open float chunk: timestamps as deltas of deltas, values as XOR with the one before (Pelkonen et al., "Gorilla", VLDB 2015),
//! appended sample by sample. A regular scrape of a constant costs two bits a sample.
//!
//! Bit stream: the first value raw (64 bits); then for each sample the timestamp code (`0` same delta, `10`+9, `110`+14, `1110`+20,
//! `1111`+64 bits of the change of delta) and the value code (`0` same value, `10` and the bits inside the window of the value before,
//! `11`, 5 bits leading zeros, 6 bits length less one, the bits).

use crate::disk::bits::{BitReader, put_bits};
use crate::disk::varint::{put_bytes, put_i64, put_u64, take_bytes, take_i64, take_u64};
use crate::model::TimestampMs;

/// No window of significant bits yet.
const NO_WINDOW: u8 = 0xff;
/// Leading zeros are stored in 5 bits.
const MAX_LEADING: u32 = 31;
/// The timestamp classes: prefix bits, prefix length, payload bits.
const TIME_CLASSES: [(u64, u32, u32); 3] = [(0b10, 2, 9), (0b110, 3, 14), (0b1110, 4, 20)];

/// A chunk that still takes samples; kept small, since every active series has one.
#[derive(Debug)]
pub(crate) struct OpenXor {
    buf: Vec<u8>,
    first_t: TimestampMs,
    last_t: TimestampMs,
    delta: i64,
    last_v: u64,
    n: u16,
    free: u8,
    leading: u8,
    trailing: u8,
}

impl Default for OpenXor {
    fn default() -> Self {
        OpenXor {
            buf: Vec::new(),
            first_t: 0,
            last_t: 0,
            delta: 0,
            last_v: 0,
            n: 0,
            free: 0,
            leading: NO_WINDOW,
            trailing: 0,
        }
    }
}

impl OpenXor {
    pub(crate) fn len(&self) -> u16 {
        self.n
    }

    pub(crate) fn first_t(&self) -> TimestampMs {
        self.first_t
    }

    pub(crate) fn last_t(&self) -> TimestampMs {
        self.last_t
    }

    pub(crate) fn last_v(&self) -> f64 {
        f64::from_bits(self.last_v)
    }

    /// The bit stream so far.
    pub(crate) fn bits(&self) -> &[u8] {
        &self.buf
    }

    /// Appends all of it, so that [`Self::take_state`] can go on where it is.
    pub(crate) fn put_state(&self, out: &mut Vec<u8>) {
        put_u64(out, self.n.into());
        put_i64(out, self.first_t);
        put_i64(out, self.last_t.wrapping_sub(self.first_t));
        put_i64(out, self.delta);
        out.extend_from_slice(&self.last_v.to_le_bytes());
        out.extend_from_slice(&[self.free, self.leading, self.trailing]);
        put_bytes(out, &self.buf);
    }

    /// Takes what [`Self::put_state`] wrote off the front of `input`. `None` on damage.
    pub(crate) fn take_state(input: &mut &[u8]) -> Option<OpenXor> {
        let n = u16::try_from(take_u64(input)?).ok()?;
        let first_t = take_i64(input)?;
        let last_t = first_t.wrapping_add(take_i64(input)?);
        let delta = take_i64(input)?;
        let (last_v, rest) = input.split_first_chunk::<8>()?;
        let ([free, leading, trailing], rest) = rest.split_first_chunk::<3>()?;
        *input = rest;
        let buf = take_bytes(input)?.to_vec();
        let sound = *free < 8 && (*leading == NO_WINDOW || u32::from(*leading) + u32::from(*trailing) < 64);
        sound.then_some(OpenXor {
            buf,
            first_t,
            last_t,
            delta,
            last_v: u64::from_le_bytes(*last_v),
            n,
            free: *free,
            leading: *leading,
            trailing: *trailing,
        })
    }

    /// Appends a sample; the caller keeps times ascending and the length below `u16::MAX`.
    pub(crate) fn push(&mut self, t: TimestampMs, v: f64) {
        let bits = v.to_bits();
        // Growing by a quarter (not doubling) keeps a million open chunks close to their size.
        if self.buf.capacity() - self.buf.len() < 20 {
            self.buf.reserve_exact((self.buf.len() / 4).max(28));
        }
        if self.n == 0 {
            self.first_t = t;
            put_bits(&mut self.buf, &mut self.free, bits, 64);
        } else {
            let delta = t.wrapping_sub(self.last_t);
            let time = self.time_code(delta.wrapping_sub(self.delta));
            self.delta = delta;
            self.push_value(time, bits ^ self.last_v);
        }
        self.last_t = t;
        self.last_v = bits;
        self.n += 1;
    }

    /// The code of a change of delta and its length; a change too large for a code is written at once, and nothing is left of it.
    #[inline]
    fn time_code(&mut self, change: i64) -> (u64, u32) {
        if change == 0 {
            return (0, 1);
        }
        for (prefix, prefix_len, bits) in TIME_CLASSES {
            let half = 1i64 << (bits - 1);
            if (-half..half).contains(&change) {
                let payload = (change as u64) & ((1 << bits) - 1);
                return ((prefix << bits) | payload, prefix_len + bits);
            }
        }
        put_bits(&mut self.buf, &mut self.free, 0b1111, 4);
        put_bits(&mut self.buf, &mut self.free, change as u64, 64);
        (0, 0)
    }

    /// Writes a value behind the code of its time. Both go out together where they fit into a word, which they mostly do.
    #[inline]
    fn push_value(&mut self, (time, time_len): (u64, u32), xor: u64) {
        if xor == 0 {
            return put_bits(&mut self.buf, &mut self.free, time << 1, time_len + 1);
        }
        let leading = xor.leading_zeros().min(MAX_LEADING);
        let trailing = xor.trailing_zeros();
        let significant = 64 - leading - trailing;
        if self.leading != NO_WINDOW && leading >= self.leading.into() && trailing >= self.trailing.into() {
            let n = 64 - u32::from(self.leading) - u32::from(self.trailing);
            // A much narrower value gets its own window: 11 bits of description are soon paid back.
            if n < significant + 11 {
                return self.put_both((time << 2 | 0b10, time_len + 2), (xor >> self.trailing, n));
            }
        }
        self.leading = leading as u8;
        self.trailing = trailing as u8;
        let head = (0b11 << 11) | (u64::from(leading) << 6) | u64::from(significant - 1);
        self.put_both((time << 13 | head, time_len + 13), (xor >> trailing, significant));
    }

    /// Writes a code, which has 37 bits at most and one at least, and the bits it announces, 64 at most.
    #[inline]
    fn put_both(&mut self, (code, code_len): (u64, u32), (bits, n): (u64, u32)) {
        if code_len + n <= u64::BITS {
            return put_bits(&mut self.buf, &mut self.free, code << n | bits, code_len + n);
        }
        put_bits(&mut self.buf, &mut self.free, code, code_len);
        put_bits(&mut self.buf, &mut self.free, bits, n);
    }
}

/// Decodes `n` samples of a bit stream whose first time is `first_t`; gives each to `each` until that says `false`. `None` on damage.
pub(crate) fn decode(
    bits: &[u8],
    n: usize,
    first_t: TimestampMs,
    mut each: impl FnMut(TimestampMs, f64) -> bool,
) -> Option<()> {
    if n == 0 {
        return Some(());
    }
    let mut r = BitReader::new(bits);
    let (mut t, mut delta, mut v) = (first_t, 0i64, r.take(64)?);
    let (mut trailing, mut significant) = (0u32, 0u32);
    if !each(t, f64::from_bits(v)) {
        return Some(());
    }
    for _ in 1..n {
        let class = r.take_ones(4)?;
        if class > 0 {
            let change = match TIME_CLASSES.get(class as usize - 1) {
                Some((_, _, bits)) => {
                    let raw = r.take(*bits)?;
                    ((raw << (64 - bits)) as i64) >> (64 - bits)
                }
                None => r.take(64)? as i64,
            };
            delta = delta.wrapping_add(change);
        }
        t = t.wrapping_add(delta);
        match r.take_ones(2)? {
            0 => {}
            1 => {
                if significant == 0 {
                    return None;
                }
                v ^= r.take(significant)? << trailing;
            }
            _ => {
                let head = r.take(11)? as u32;
                significant = (head & 63) + 1;
                trailing = 64u32.checked_sub((head >> 6) + significant)?;
                v ^= r.take(significant)? << trailing;
            }
        }
        if !each(t, f64::from_bits(v)) {
            return Some(());
        }
    }
    Some(())
}

/// Appends the samples of a bit stream in `[mint, maxt]` to the columns; `n` and `first_t` as in [`decode`]. `None` on damage.
///
/// Queries spend much of their time here, so one look at the bits serves time and value of a sample wherever both fit.
pub(crate) fn decode_between(
    bits: &[u8],
    n: usize,
    first_t: TimestampMs,
    (mint, maxt): (TimestampMs, TimestampMs),
    times: &mut Vec<TimestampMs>,
    values: &mut Vec<f64>,
) -> Option<()> {
    if n == 0 || first_t > maxt {
        return Some(());
    }
    let mut r = BitReader::new(bits);
    let mut v = r.take(64)?;
    let (mut t, mut delta) = (first_t, 0i64);
    let (mut trailing, mut significant) = (0u32, 0u32);
    // Each sample is written to the next place, which only moves on if the sample is wanted.
    let (had_times, had_values) = (times.len(), values.len());
    times.resize(had_times + n, 0);
    values.resize(had_values + n, 0.0);
    let (t_places, v_places) = (times.get_mut(had_times..)?, values.get_mut(had_values..)?);
    let mut taken = 0usize;
    let mut put = |t: TimestampMs, v: u64| {
        if let (Some(t_place), Some(v_place)) = (t_places.get_mut(taken), v_places.get_mut(taken)) {
            (*t_place, *v_place) = (t, f64::from_bits(v));
        }
        taken += usize::from(t >= mint);
    };
    put(t, v);
    for _ in 1..n {
        let mut w = r.window();
        // Bits of the window that are used up. At least 57 are valid.
        let mut used = 1;
        if w >> 63 != 0 {
            delta = delta.wrapping_add(take_change(&mut r)?);
            w = r.window();
            used = 0;
        }
        t = t.wrapping_add(delta);
        let code = w << used;
        if code >> 63 == 0 {
            r.skip(used + 1);
        } else {
            used += 2;
            if code >> 62 == 0b11 {
                let head = (w << used >> 53) as u32;
                used += 11;
                significant = (head & 63) + 1;
                trailing = 64u32.checked_sub((head >> 6) + significant)?;
            } else if significant == 0 {
                return None;
            }
            let xor = if used + significant <= 57 {
                r.skip(used + significant);
                w << used >> (64 - significant)
            } else {
                r.skip(used);
                r.take(significant)?
            };
            v ^= xor << trailing;
        }
        if t > maxt {
            break;
        }
        put(t, v);
    }
    times.truncate(had_times + taken);
    values.truncate(had_values + taken);
    r.is_inside().then_some(())
}

/// The change of delta of a timestamp whose code does not begin with `0`.
#[cold]
fn take_change(r: &mut BitReader<'_>) -> Option<i64> {
    let class = r.take_ones(4)?;
    Some(match TIME_CLASSES.get((class as usize).checked_sub(1)?) {
        Some((_, _, bits)) => {
            let raw = r.take(*bits)?;
            ((raw << (64 - bits)) as i64) >> (64 - bits)
        }
        None => r.take(64)? as i64,
    })
}
