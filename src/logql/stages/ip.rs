//! `ip("...")`: one address, a range `a-b`, or a network in CIDR form.

use std::net::IpAddr;

/// A compiled address pattern: an inclusive range inside one family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpPattern {
    low: IpAddr,
    high: IpAddr,
}

fn number(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

impl IpPattern {
    /// Reads `1.2.3.4`, `1.2.3.4-1.2.3.9`, `10.0.0.0/8`, and the same in IPv6.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("invalid ip pattern {text:?}: write an address, a range a-b or a network a/n");
        let address = |t: &str| t.trim().parse::<IpAddr>().map_err(|_| bad());
        if let Some((low, high)) = text.split_once('-') {
            let (low, high) = (address(low)?, address(high)?);
            return if low.is_ipv4() == high.is_ipv4() && low <= high {
                Ok(IpPattern { low, high })
            } else {
                Err(bad())
            };
        }
        let Some((base, bits)) = text.split_once('/') else {
            let one = address(text)?;
            return Ok(IpPattern { low: one, high: one });
        };
        let base = address(base)?;
        let bits: u32 = bits.parse().map_err(|_| bad())?;
        match base {
            IpAddr::V4(a) if bits <= 32 => {
                let host = u32::MAX.checked_shr(bits).unwrap_or(0);
                Ok(IpPattern {
                    low: IpAddr::V4((a.to_bits() & !host).into()),
                    high: IpAddr::V4((a.to_bits() | host).into()),
                })
            }
            IpAddr::V6(a) if bits <= 128 => {
                let host = u128::MAX.checked_shr(bits).unwrap_or(0);
                Ok(IpPattern {
                    low: IpAddr::V6((a.to_bits() & !host).into()),
                    high: IpAddr::V6((a.to_bits() | host).into()),
                })
            }
            IpAddr::V4(_) | IpAddr::V6(_) => Err(bad()),
        }
    }

    /// Whether an address lies inside.
    pub fn contains(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.low.is_ipv4() && (number(self.low)..=number(self.high)).contains(&number(ip))
    }

    /// Whether any address in the line lies inside. Addresses are found as Loki finds them: wherever one may begin, everything
    /// that could belong to it is taken, and is an address as a whole or not at all.
    pub fn found_in(&self, line: &str) -> bool {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let rest = bytes.get(at..).unwrap_or_default();
            let len = if begins_v4(rest) {
                rest.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count()
            } else if begins_v6(rest) {
                rest.iter().take_while(|b| b.is_ascii_hexdigit() || matches!(b, b':' | b'.')).count()
            } else {
                at += 1;
                continue;
            };
            let found = line.get(at..at + len).and_then(|word| word.parse::<IpAddr>().ok());
            if found.is_some_and(|ip| self.contains(ip)) {
                return true;
            }
            // The byte behind the word cannot begin another.
            at += len + 1;
        }
        false
    }
}

/// A digit with a dot one to three bytes behind it.
fn begins_v4(rest: &[u8]) -> bool {
    matches!(rest, [first, tail @ ..] if first.is_ascii_digit() && tail.len() >= 3 && tail.iter().take(3).any(|b| *b == b'.'))
}

/// Up to four hexadecimal digits and a colon, or two colons and a digit.
fn begins_v6(rest: &[u8]) -> bool {
    let digits = rest.iter().take(4).take_while(|b| b.is_ascii_hexdigit()).count();
    match rest {
        [b':', b':', third, _, ..] if third.is_ascii_hexdigit() => true,
        [b':', b':', third] => third.is_ascii_hexdigit(),
        _ => digits > 0 && rest.get(digits) == Some(&b':'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, line, want) in [
            ("10.0.0.0/8", "src=10.1.2.3 ok", true),
            ("10.0.0.0/8", "src=11.1.2.3.", false),
            ("192.168.4.5-192.168.4.20", "from 192.168.4.20:80", true),
            ("192.168.4.0/24", "1192.168.4.50 glued", true),
            ("192.168.4.0/24", "x192.168.4.7y", true),
            ("192.168.4.0/24", "mapped ::ffff:192.168.4.9", false),
            ("1.0.0.0/8", "version 1.2.3.4.5", false),
            ("192.168.4.5", "x192.168.4.55", false),
            ("2001:db8::/32", "[2001:db8::12]:80", true),
            ("::1", "from ::1 port", true),
            ("0.0.0.0/0", "no address 1.2.3", false),
        ] {
            assert_eq!(IpPattern::parse(pattern).unwrap().found_in(line), want, "{pattern} in {line}");
        }
        for bad in ["", "x", "1.2.3.4/33", "1.2.3.4-::1", "1.2.3.9-1.2.3.4"] {
            assert!(IpPattern::parse(bad).is_err(), "{bad}");
        }
    }
}
