//! What the kernel dropped of a UDP socket: the last column of `/proc/net/udp` and `udp6` (linux `Documentation/networking/proc_net_tcp.rst`
//! has the others).

use std::fs;

use tokio::net::UdpSocket;

/// Follows one socket; the default follows none.
#[derive(Default)]
pub(super) struct KernelDrops {
    /// The socket's number in those files; `None` where there is none to be had.
    inode: Option<u64>,
    seen: u64,
}

impl KernelDrops {
    pub(super) fn of(socket: &UdpSocket) -> Self {
        #[cfg(target_os = "linux")]
        let inode = rustix::fs::fstat(socket).ok().map(|s| s.st_ino);
        #[cfg(not(target_os = "linux"))]
        let inode = {
            let _unused = socket;
            None
        };
        KernelDrops { inode, seen: 0 }
    }

    /// How many datagrams were dropped since the last call. Reads files.
    pub(super) fn new_drops(&mut self) -> u64 {
        let Some(inode) = self.inode else { return 0 };
        let tables = ["/proc/net/udp", "/proc/net/udp6"].into_iter().filter_map(|p| fs::read_to_string(p).ok());
        let Some(total) = tables.into_iter().find_map(|t| drops_of(&t, inode)) else { return 0 };
        let new = total.saturating_sub(self.seen);
        self.seen = total;
        new
    }
}

/// The tenth column is the inode, the thirteenth the drops.
fn drops_of(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace();
        let found: u64 = columns.nth(9)?.parse().ok()?;
        if found != inode {
            return None;
        }
        columns.nth(2)?.parse().ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_socket() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            7310: 0100007F:0202 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 48211 2 0000000000000000 17\n";
        assert_eq!((drops_of(table, 48211), drops_of(table, 1)), (Some(17), None));
    }

    #[tokio::test]
    async fn a_socket_finds_itself() {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut drops = KernelDrops::of(&socket);
        if cfg!(target_os = "linux") {
            let table = fs::read_to_string("/proc/net/udp").unwrap();
            assert_eq!(drops_of(&table, drops.inode.unwrap()), Some(0));
        }
        assert_eq!(drops.new_drops(), 0);
    }
}
