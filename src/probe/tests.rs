//! Probes of servers on the loopback.
