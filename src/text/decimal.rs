//! Whole numbers as decimal digits. Answers are made of them for the most part, so they are written two digits at a time.

/// The digits of 0 to 99.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut i = 0;
    while i < 100 {
        pairs[i] = [b'0' + (i / 10) as u8, b'0' + (i % 10) as u8];
        i += 1;
    }
    pairs
};

/// Writes a whole number.
pub fn write_whole(out: &mut String, mut n: u64) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    while n >= 100 {
        at -= 2;
        put(&mut digits, at, PAIRS[(n % 100) as usize]);
        n /= 100;
    }
    at -= 2;
    put(&mut digits, at, PAIRS[(n % 100) as usize]);
    if n < 10 {
        at += 1;
    }
    // They are digits, nothing else.
    out.push_str(digits.get(at..).and_then(|d| std::str::from_utf8(d).ok()).unwrap_or_default());
}

fn put(digits: &mut [u8; 20], at: usize, pair: [u8; 2]) {
    if let Some(place) = digits.get_mut(at..at + 2) {
        place.copy_from_slice(&pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lengths() {
        let mut n = 0u64;
        for k in 0..=20u64 {
            for n in [n, n.wrapping_add(k), u64::MAX / (k + 1)] {
                let mut s = String::new();
                write_whole(&mut s, n);
                assert_eq!(s, n.to_string());
            }
            n = n.wrapping_mul(10).wrapping_add(9);
        }
    }
}
