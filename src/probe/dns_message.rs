//! DNS messages (RFC 1035): a question out, an answer in, records in the form of a zone file.

use crate::config::dns_names;
use crate::probe::Failure;

/// The sections of an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response code.
    pub rcode: u8,
    /// Whether the message was cut to fit a datagram.
    pub truncated: bool,
    /// Answer records, in the form of a zone file with tabs.
    pub answer: Vec<String>,
    /// Authority records.
    pub authority: Vec<String>,
    /// Additional records.
    pub additional: Vec<String>,
    /// The serial number of the first SOA record.
    pub serial: Option<u32>,
}

/// A question as a message.
pub fn question(id: u16, name: &str, kind: u16, class: u16, recursion: bool) -> Result<Vec<u8>, Failure> {
    let mut m = id.to_be_bytes().to_vec();
    m.extend_from_slice(&[u8::from(recursion), 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > 253 {
        return Err(Failure(format!("the name {name:?} is too long")));
    }
    for label in bare.split('.').filter(|_| !bare.is_empty()) {
        match u8::try_from(label.len()) {
            Ok(n @ 1..=63) => {
                m.push(n);
                m.extend_from_slice(label.as_bytes());
            }
            Ok(_) | Err(_) => return Err(Failure(format!("{name:?} is not a name that can be asked for"))),
        }
    }
    m.push(0);
    m.extend_from_slice(&kind.to_be_bytes());
    m.extend_from_slice(&class.to_be_bytes());
    Ok(m)
}

/// Reads an answer; nothing if it belongs to another question.
pub fn answer(message: &[u8], id: u16) -> Result<Option<Answer>, Failure> {
    read(message, id).ok_or_else(|| Failure::new("the answer is not a DNS message"))
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

fn read(message: &[u8], id: u16) -> Option<Option<Answer>> {
    let mut r = Reader { message, at: 0 };
    if r.u16()? != id {
        return Some(None);
    }
    let flags = r.u16()?;
    if flags & 0x8000 == 0 {
        return Some(None);
    }
    let counts = [r.u16()?, r.u16()?, r.u16()?, r.u16()?];
    for _ in 0..counts[0] {
        r.name()?;
        r.at += 4;
    }
    let mut a = Answer { rcode: (flags & 15) as u8, truncated: flags & 0x0200 != 0, ..Answer::default() };
    for (section, count) in [0, 1, 2].into_iter().zip(&counts[1..]) {
        for _ in 0..*count {
            // The pseudo record of EDNS is no record.
            let Some(record) = r.record(&mut a.serial)? else { continue };
            match section {
                0 => a.answer.push(record),
                1 => a.authority.push(record),
                _ => a.additional.push(record),
            }
        }
    }
    Some(Some(a))
}

impl Reader<'_> {
    fn bytes(&mut self, n: usize) -> Option<&[u8]> {
        let b = self.message.get(self.at..self.at.checked_add(n)?)?;
        self.at += n;
        Some(b)
    }

    fn u8(&mut self) -> Option<u8> {
        self.bytes(1)?.first().copied()
    }

    fn u16(&mut self) -> Option<u16> {
        self.bytes(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.bytes(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A name, pointers followed, with its final dot.
    fn name(&mut self) -> Option<String> {
        let mut out = String::new();
        let mut at = self.at;
        let mut end = None;
        // Each pointer must go back; a name of many jumps is an attack.
        for _ in 0..128 {
            let n = usize::from(*self.message.get(at)?);
            if n == 0 {
                self.at = end.unwrap_or(at + 1);
                return Some(if out.is_empty() { ".".to_owned() } else { out });
            }
            if n & 0xc0 == 0xc0 {
                end.get_or_insert(at + 2);
                at = (n & 0x3f) << 8 | usize::from(*self.message.get(at + 1)?);
                continue;
            }
            for b in self.message.get(at + 1..at + 1 + n)? {
                match b {
                    b'.' | b'\\' | b'"' | b'(' | b')' | b';' | b'@' | b'$' => {
                        out.push('\\');
                        out.push(char::from(*b));
                    }
                    0x21..=0x7e => out.push(char::from(*b)),
                    b => out.push_str(&format!("\\{b:03}")),
                }
            }
            out.push('.');
            at += n + 1;
        }
        None
    }

    /// `name<TAB>ttl<TAB>class<TAB>type<TAB>data`.
    fn record(&mut self, serial: &mut Option<u32>) -> Option<Option<String>> {
        const OPT: u16 = 41;
        let name = self.name()?;
        let kind = self.u16()?;
        let class = self.u16()?;
        let ttl = self.u32()?;
        let length = usize::from(self.u16()?);
        let end = self.at.checked_add(length)?;
        self.message.get(self.at..end)?;
        if kind == OPT {
            self.at = end;
            return Some(None);
        }
        let data = self.data(kind, end, serial)?;
        self.at = end;
        let (class, kind) = (dns_names::class_name(class), dns_names::record_type_name(kind));
        Some(Some(format!("{name}\t{ttl}\t{class}\t{kind}\t{data}")))
    }

    fn data(&mut self, kind: u16, end: usize, serial: &mut Option<u32>) -> Option<String> {
        Some(match dns_names::record_type_name(kind).as_str() {
            "A" => <[u8; 4]>::try_from(self.bytes(4)?).map(std::net::Ipv4Addr::from).ok()?.to_string(),
            "AAAA" => <[u8; 16]>::try_from(self.bytes(16)?).map(std::net::Ipv6Addr::from).ok()?.to_string(),
            "NS" | "CNAME" | "PTR" | "DNAME" => self.name()?,
            "MX" => format!("{} {}", self.u16()?, self.name()?),
            "SRV" => format!("{} {} {} {}", self.u16()?, self.u16()?, self.u16()?, self.name()?),
            "SOA" => {
                let (primary, mail) = (self.name()?, self.name()?);
                let number = self.u32()?;
                serial.get_or_insert(number);
                let rest = [self.u32()?, self.u32()?, self.u32()?, self.u32()?].map(|n| n.to_string()).join(" ");
                format!("{primary} {mail} {number} {rest}")
            }
            "TXT" => {
                let mut parts = Vec::new();
                while self.at < end {
                    let n = usize::from(self.u8()?);
                    parts.push(quoted(self.bytes(n)?));
                }
                parts.join(" ")
            }
            "CAA" => {
                let flags = self.u8()?;
                let n = usize::from(self.u8()?);
                let tag = String::from_utf8_lossy(self.bytes(n)?).into_owned();
                let value = self.message.get(self.at..end)?;
                format!("{flags} {tag} {}", quoted(value))
            }
            // RFC 3597: what has no form of its own is written as bytes.
            _ => {
                let bytes = self.message.get(self.at..end)?;
                let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
                format!("\\# {} {hex}", bytes.len())
            }
        })
    }
}

fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for b in bytes {
        match b {
            b'"' | b'\\' => {
                out.push('\\');
                out.push(char::from(*b));
            }
            0x20..=0x7e => out.push(char::from(*b)),
            b => out.push_str(&format!("\\{b:03}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_and_reads() {
        let mut m = question(7, "example.org.", 1, 1, true).unwrap();
        assert_eq!(answer(&m, 7).unwrap(), None, "a question is no answer");
        m[2] |= 0x80;
        m[7] = 1;
        // The name by pointer, A, IN, 300 s, four bytes.
        m.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 127, 0, 0, 9]);
        let a = answer(&m, 7).unwrap().unwrap();
        assert_eq!(a.answer, ["example.org.\t300\tIN\tA\t127.0.0.9"]);
        assert_eq!(answer(&m, 8).unwrap(), None);
        for n in 0..m.len() {
            // A cut message is refused or of another question, never a panic.
            assert!(!matches!(answer(&m[..n], 7), Ok(Some(_))), "{n}");
        }
        let circle = [0, 7, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0xc0, 12];
        assert!(answer(&circle, 7).is_err());
        assert!(question(1, "a..b", 1, 1, true).is_err());
        assert_eq!(question(1, ".", 2, 1, true).unwrap().len(), 17);
    }
}
