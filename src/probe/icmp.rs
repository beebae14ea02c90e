//! The ICMP prober: one echo request. A datagram socket where the system allows it, else a raw one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::time::Instant;

use crate::config::probe_module::IcmpModule;
use crate::probe::phases::Phases;
use crate::probe::resolve::{Preference, resolve};
use crate::probe::result::Recorder;
use crate::probe::{Failure, Question};

/// Bytes of payload where none are asked for, as `ping` sends.
const PAYLOAD: usize = 56;
/// The largest packet there is.
const MAX_PACKET: usize = 65_535;

/// Pings of this process at the same time differ in this number.
static NEXT_SEQUENCE: AtomicU16 = AtomicU16::new(1);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The kernel fills in the identifier and gives us only what answers us.
    Datagram,
    /// We see every packet, for IPv4 with its header.
    Raw,
}

/// Sends one ping and waits for its answer.
pub async fn run(question: &Question<'_>, m: &IcmpModule, r: &mut Recorder) -> Result<(), Failure> {
    let mut phases = Phases::new("probe_icmp_duration_seconds", "resolve", r);
    phases.show(&["setup", "rtt"], r);
    let want = Preference { protocol: m.preferred_ip_protocol, fallback: m.ip_protocol_fallback };
    let (address, took) = resolve(question.target, want, r).await?;
    phases.add("resolve", took, r);
    let start = Instant::now();
    r.now("opening a socket");
    let (socket, mode) = open(address, m).map_err(|e| refused(address, &e))?;
    let identifier = (std::process::id() & 0xffff) as u16;
    let sequence = NEXT_SEQUENCE.fetch_add(1, Ordering::Relaxed);
    let mut packet = echo_request(address, identifier, sequence, m.payload_size);
    if m.dont_fragment
        && let IpAddr::V4(to) = address
    {
        packet = with_ipv4_header(packet, to, m.ttl);
    }
    let start = phases.until_now("setup", start, r);
    r.now("waiting for the reply");
    socket.send(&packet).await.map_err(|e| Failure(format!("cannot send a ping to {address}: {e}")))?;
    let mut buffer = vec![0; MAX_PACKET];
    loop {
        let n = socket.recv(&mut buffer).await.map_err(|e| Failure(format!("no reply from {address}: {e}")))?;
        let Some(mut reply) = buffer.get(..n) else { continue };
        let mut hop_limit = None;
        if mode == Mode::Raw && address.is_ipv4() {
            let header = reply.first().map_or(20, |b| usize::from(b & 0x0f) * 4);
            hop_limit = reply.get(8).copied();
            reply = reply.get(header..).unwrap_or(&[]);
        }
        if is_reply(reply, address, (mode == Mode::Raw).then_some(identifier), sequence) {
            phases.until_now("rtt", start, r);
            if let Some(hops) = hop_limit {
                r.set("probe_icmp_reply_hop_limit", f64::from(hops));
            }
            return Ok(());
        }
    }
}

fn open(address: IpAddr, m: &IcmpModule) -> io::Result<(UdpSocket, Mode)> {
    let (domain, protocol) = match address {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let own_header = m.dont_fragment && address.is_ipv4();
    let datagram = if own_header { None } else { Socket::new(domain, Type::DGRAM, Some(protocol)).ok() };
    let (socket, mode) = match datagram {
        Some(socket) => (socket, Mode::Datagram),
        None => (Socket::new(domain, Type::RAW, Some(protocol))?, Mode::Raw),
    };
    if own_header {
        socket.set_header_included_v4(true)?;
    }
    if m.ttl > 0 {
        match address {
            IpAddr::V4(_) => socket.set_ttl_v4(u32::from(m.ttl))?,
            IpAddr::V6(_) => socket.set_unicast_hops_v6(u32::from(m.ttl))?,
        }
    }
    socket.set_nonblocking(true)?;
    socket.connect(&SocketAddr::new(address, 0).into())?;
    Ok((UdpSocket::from_std(socket.into())?, mode))
}

fn refused(address: IpAddr, e: &io::Error) -> Failure {
    if e.kind() == io::ErrorKind::PermissionDenied {
        return Failure::new(
            "pings are not allowed: neither does net.ipv4.ping_group_range contain this process' group, nor has it \
             CAP_NET_RAW (a fragment-free ping always needs CAP_NET_RAW)",
        );
    }
    Failure(format!("cannot open a socket for pings to {address}: {e}"))
}

/// An echo request (RFC 792, RFC 4443): type, code, checksum, identifier, sequence, payload.
fn echo_request(address: IpAddr, identifier: u16, sequence: u16, payload: usize) -> Vec<u8> {
    let mut packet = vec![if address.is_ipv4() { 8 } else { 128 }, 0, 0, 0];
    packet.extend_from_slice(&identifier.to_be_bytes());
    packet.extend_from_slice(&sequence.to_be_bytes());
    let length = if payload == 0 { PAYLOAD } else { payload };
    packet.extend(b"campanile rings. ".iter().cycle().take(length));
    // The kernel computes the checksum of ICMPv6, which covers addresses.
    if address.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet.splice(2..4, sum);
    }
    packet
}

/// The Internet checksum (RFC 1071).
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| match pair {
            [a, b] => u32::from(u16::from_be_bytes([*a, *b])),
            [a] => u32::from(*a) << 8,
            _ => 0,
        })
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Puts an IPv4 header with "don't fragment" before a packet; source, identification, length and checksum are filled
/// in by the kernel (raw(7)).
fn with_ipv4_header(packet: Vec<u8>, to: std::net::Ipv4Addr, ttl: u8) -> Vec<u8> {
    const DONT_FRAGMENT: u8 = 0x40;
    let length = u16::try_from(packet.len() + 20).unwrap_or(u16::MAX).to_be_bytes();
    let ttl = if ttl == 0 { 64 } else { ttl };
    let mut out = vec![0x45, 0, length[0], length[1], 0, 0, DONT_FRAGMENT, 0, ttl, 1, 0, 0, 0, 0, 0, 0];
    out.extend_from_slice(&to.octets());
    out.extend_from_slice(&packet);
    out
}

fn is_reply(packet: &[u8], address: IpAddr, identifier: Option<u16>, sequence: u16) -> bool {
    let wanted = if address.is_ipv4() { 0 } else { 129 };
    match packet {
        [kind, 0, _, _, i1, i2, s1, s2, ..] => {
            *kind == wanted
                && u16::from_be_bytes([*s1, *s2]) == sequence
                && identifier.is_none_or(|id| u16::from_be_bytes([*i1, *i2]) == id)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets() {
        let v4: IpAddr = "127.0.0.1".parse().unwrap();
        let mut packet = echo_request(v4, 7, 9, 5);
        assert_eq!(packet.len(), 13);
        // A packet with its own checksum sums to zero.
        assert_eq!(checksum(&packet), 0);
        packet[0] = 0;
        assert!(is_reply(&packet, v4, Some(7), 9));
        assert!(!is_reply(&packet, v4, Some(8), 9) && !is_reply(&packet, v4, None, 10));
        assert!(!is_reply(&[0, 0], v4, None, 9));
        assert_eq!(with_ipv4_header(packet, "10.0.0.1".parse().unwrap(), 0).len(), 33);
    }
}
