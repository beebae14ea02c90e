//! From a host's name to the one address that is probed.

use std::net::IpAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::config::probe_module::IpProtocol;
use crate::probe::Failure;
use crate::probe::result::Recorder;

/// Which address is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Preference {
    /// The kind tried first.
    pub protocol: IpProtocol,
    /// Whether the other kind will do.
    pub fallback: bool,
}

/// Finds the address of `host` (a name or an address, IPv6 with or without brackets) and notes it, its protocol and
/// its hash. Gives the address and the time it took.
pub async fn resolve(host: &str, want: Preference, r: &mut Recorder) -> Result<(IpAddr, Duration), Failure> {
    for name in ["probe_dns_lookup_time_seconds", "probe_ip_protocol", "probe_ip_addr_hash"] {
        r.set(name, 0.0);
    }
    r.now("looking up the address");
    let start = Instant::now();
    let found = lookup(host).await;
    let took = start.elapsed();
    r.set("probe_dns_lookup_time_seconds", took.as_secs_f64());
    let address = choose(&found?, want)
        .ok_or_else(|| Failure(format!("{host} has no address of the wanted protocol ({:?})", want.protocol)))?;
    r.set("probe_ip_protocol", if address.is_ipv4() { 4.0 } else { 6.0 });
    r.set("probe_ip_addr_hash", f64::from(hash(address)));
    r.note("address", address.to_string());
    Ok((address, took))
}

/// All addresses of a host, in the order the system gives them.
pub async fn lookup(host: &str) -> Result<Vec<IpAddr>, Failure> {
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(vec![address]);
    }
    match tokio::net::lookup_host((bare, 0)).await {
        Ok(found) => Ok(found.map(|a| a.ip()).collect()),
        Err(e) => Err(Failure(format!("{bare} cannot be looked up: {e}"))),
    }
}

/// The first address of the wanted protocol, else the first one if any will do.
pub fn choose(found: &[IpAddr], want: Preference) -> Option<IpAddr> {
    let wanted = |a: &&IpAddr| a.is_ipv4() == (want.protocol == IpProtocol::Ip4);
    found.iter().find(wanted).or_else(|| found.first().filter(|_| want.fallback)).copied()
}

/// 32-bit FNV-1a of the address' bytes.
fn hash(address: IpAddr) -> u32 {
    let add = |h: u32, b: &u8| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193);
    match address {
        IpAddr::V4(a) => a.octets().iter().fold(0x811c_9dc5, add),
        IpAddr::V6(a) => a.octets().iter().fold(0x811c_9dc5, add),
    }
}

/// Splits `host:port`, `[v6]:port`; a missing port is an error.
pub fn host_port(target: &str) -> Result<(&str, u16), Failure> {
    let (host, port) =
        target.rsplit_once(':').ok_or_else(|| Failure(format!("{target:?} has no port; write host:port")))?;
    let port = port.parse().map_err(|_| Failure(format!("{port:?} is not a port")))?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(Failure(format!("{target:?} needs brackets around its IPv6 address: [address]:port")));
    }
    Ok((host.trim_matches(['[', ']']), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chooses_and_hashes() {
        let v4: IpAddr = "127.0.0.1".parse().unwrap();
        let v6: IpAddr = "::1".parse().unwrap();
        let want = |protocol, fallback| Preference { protocol, fallback };
        assert_eq!(choose(&[v4, v6], want(IpProtocol::Ip6, true)), Some(v6));
        assert_eq!(choose(&[v4], want(IpProtocol::Ip6, true)), Some(v4));
        assert_eq!(choose(&[v4], want(IpProtocol::Ip6, false)), None);
        // Recorded from blackbox_exporter.
        assert_eq!(hash(v4), 3_668_918_509);
        assert_eq!(host_port("[::1]:53").unwrap(), ("::1", 53));
        assert!(host_port("::1:53").is_err() && host_port("h").is_err());
    }
}
