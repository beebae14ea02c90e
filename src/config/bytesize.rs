//! Sizes in the configuration: `512MB`, `10GiB`; as in Prometheus all units count in powers of 1024.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

const UNITS: [(&str, u32); 7] = [("", 0), ("K", 10), ("M", 20), ("G", 30), ("T", 40), ("P", 50), ("E", 60)];

impl ByteSize {
    /// So many mebibytes.
    pub const fn mib(n: u64) -> Self {
        ByteSize(n << 20)
    }

    /// Reads `512MB`, `512MiB`, `512M`, `0`; the number may have a fraction.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("not a valid size: {text:?}; write it like 512MB or 10GiB");
        let t = text.trim();
        let end = t.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
        let (number, unit) = t.split_at(end);
        let number: f64 = number.parse().map_err(|_| bad())?;
        let unit = unit.trim();
        let prefix = unit.strip_suffix("iB").or_else(|| unit.strip_suffix('B')).unwrap_or(unit);
        let (_, shift) = UNITS.iter().find(|(u, _)| u.eq_ignore_ascii_case(prefix)).ok_or_else(bad)?;
        let bytes = number * 2f64.powi(i32::try_from(*shift).unwrap_or(0));
        if bytes >= 9.2e18 { Err(bad()) } else { Ok(ByteSize(bytes as u64)) }
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = UNITS.iter().rev().find(|(_, s)| self.0 >= 1 << s && self.0.trailing_zeros() >= *s);
        match unit {
            Some((u, s)) if *s > 0 => write!(f, "{}{u}iB", self.0 >> s),
            _ => write!(f, "{}B", self.0),
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        ByteSize::parse(&String::deserialize(d)?).map_err(de::Error::custom)
    }
}

impl Serialize for ByteSize {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        for (text, bytes, back) in
            [("0", 0, "0B"), ("512MB", 512 << 20, "512MiB"), ("1.5GiB", 1536 << 20, "1536MiB"), ("7B", 7, "7B")]
        {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)));
            assert_eq!(ByteSize(bytes).to_string(), back);
        }
        assert!(ByteSize::parse("5 bananas").is_err());
    }
}
