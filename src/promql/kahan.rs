//! Summation that loses no precision (Kahan, as improved by Neumaier).

/// Adds `x` to `sum`; what rounding loses is collected in `c`. After an overflow `c` is 0.
#[inline]
pub fn add(x: f64, sum: f64, c: f64) -> (f64, f64) {
    let t = sum + x;
    // Written so that both cases can be chosen without a jump.
    let (large, small) = if sum.abs() >= x.abs() { (sum, x) } else { (x, sum) };
    let lost = c + ((large - t) + small);
    (t, if t.is_infinite() { 0.0 } else { lost })
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
