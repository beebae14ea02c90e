//! The words of DNS and their numbers (IANA's registry "Domain Name System (DNS) Parameters").

const TYPES: [(&str, u16); 24] = [
    ("A", 1),
    ("NS", 2),
    ("CNAME", 5),
    ("SOA", 6),
    ("PTR", 12),
    ("HINFO", 13),
    ("MX", 15),
    ("TXT", 16),
    ("RP", 17),
    ("AAAA", 28),
    ("LOC", 29),
    ("SRV", 33),
    ("NAPTR", 35),
    ("DNAME", 39),
    ("DS", 43),
    ("SSHFP", 44),
    ("RRSIG", 46),
    ("NSEC", 47),
    ("DNSKEY", 48),
    ("TLSA", 52),
    ("SVCB", 64),
    ("HTTPS", 65),
    ("CAA", 257),
    ("ANY", 255),
];

const CLASSES: [(&str, u16); 4] = [("IN", 1), ("CH", 3), ("HS", 4), ("ANY", 255)];

const RCODES: [(&str, u8); 11] = [
    ("NOERROR", 0),
    ("FORMERR", 1),
    ("SERVFAIL", 2),
    ("NXDOMAIN", 3),
    ("NOTIMP", 4),
    ("REFUSED", 5),
    ("YXDOMAIN", 6),
    ("YXRRSET", 7),
    ("NXRRSET", 8),
    ("NOTAUTH", 9),
    ("NOTZONE", 10),
];

/// The number of a record type such as `AAAA`.
pub fn record_type(name: &str) -> Option<u16> {
    TYPES.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

/// The name of a record type, `TYPE999` where it has none here (RFC 3597).
pub fn record_type_name(number: u16) -> String {
    TYPES.iter().find(|(_, v)| *v == number).map_or_else(|| format!("TYPE{number}"), |(n, _)| (*n).to_owned())
}

/// The number of a class such as `IN`.
pub fn class(name: &str) -> Option<u16> {
    CLASSES.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

/// The name of a class, `CLASS9` where it has none here (RFC 3597).
pub fn class_name(number: u16) -> String {
    CLASSES.iter().find(|(_, v)| *v == number).map_or_else(|| format!("CLASS{number}"), |(n, _)| (*n).to_owned())
}

/// The number of a response code such as `NXDOMAIN`.
pub fn rcode(name: &str) -> Option<u8> {
    RCODES.iter().find(|(n, _)| *n == name).map(|(_, v)| *v)
}

/// The name of a response code.
pub fn rcode_name(number: u8) -> String {
    RCODES.iter().find(|(_, v)| *v == number).map_or_else(|| format!("RCODE{number}"), |(n, _)| (*n).to_owned())
}
