//! Summation that loses no precision (Kahan, as improved by Neumaier).

/// Adds `x` to `sum`; what rounding loses is collected in `c`. After an overflow `c` is 0.
#[inline]
pub fn add(x: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + x;
    if t.is_infinite() {
        (t, 0.0)
    } else if sum.abs() >= x.abs() {
        (t, c + ((sum - t) + x))
    } else {
        (t, c + ((x - t) + sum))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn small_terms_survive_large_ones() {
        let (mut s, mut c) = (0.0, 0.0);
        for x in [1.0, 1e100, 1.0, -1e100] {
            (s, c) = super::add(x, s, c);
        }
        assert_eq!(s + c, 2.0);
    }
}
