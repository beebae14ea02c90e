//! Whether a group has anything new to tell to one integration.

use std::collections::BTreeSet;

use crate::alerting::nflog::NflogEntry;
use crate::alerting::template_data::Reason;
use crate::model::TimestampMs;

/// Compares what is with what was told. `None` means that there is nothing to tell.
pub fn decide(
    told: Option<&NflogEntry>,
    firing: &BTreeSet<u64>,
    resolved: &BTreeSet<u64>,
    send_resolved: bool,
    repeat_interval_ms: i64,
    now: TimestampMs,
) -> Option<Reason> {
    let Some(told) = told else {
        // Of alerts that came and went unheard nobody needs to be told.
        return (!firing.is_empty()).then_some(Reason::First);
    };
    if !firing.is_subset(&told.firing) {
        return Some(if told.firing.is_empty() { Reason::First } else { Reason::NewAlerts });
    }
    if firing.is_empty() {
        // Also where the end is not told, so that the log does not go on taking the alerts for told.
        return (!told.firing.is_empty()).then_some(Reason::AllResolved);
    }
    if send_resolved && !resolved.is_subset(&told.resolved) {
        return Some(Reason::SomeResolved);
    }
    (told.told_at < now - repeat_interval_ms).then_some(Reason::Repeat)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        // name, told (firing, resolved) at 1000, firing, resolved, send_resolved, now, want; repeat is 100.
        type Case = (
            &'static str,
            Option<(&'static [u64], &'static [u64])>,
            &'static [u64],
            &'static [u64],
            bool,
            i64,
            Option<Reason>,
        );
        let cases: &[Case] = &[
            ("first", None, &[1], &[], true, 1000, Some(Reason::First)),
            ("resolved before it was told", None, &[], &[1], true, 1000, None),
            ("nothing new", Some((&[1], &[])), &[1], &[], true, 1050, None),
            ("repeat not over", Some((&[1], &[])), &[1], &[], true, 1100, None),
            ("repeat over", Some((&[1], &[])), &[1], &[], true, 1101, Some(Reason::Repeat)),
            ("another one", Some((&[1], &[])), &[1, 2], &[], true, 1001, Some(Reason::NewAlerts)),
            ("fires again", Some((&[], &[1])), &[1], &[], true, 1001, Some(Reason::First)),
            ("one of two ended", Some((&[1, 2], &[])), &[1], &[2], true, 1001, Some(Reason::SomeResolved)),
            ("one of two ended, not told", Some((&[1, 2], &[])), &[1], &[2], false, 1001, None),
            ("all ended", Some((&[1], &[])), &[], &[1], true, 1001, Some(Reason::AllResolved)),
            ("all ended, only logged", Some((&[1], &[])), &[], &[1], false, 1001, Some(Reason::AllResolved)),
            ("ended and told", Some((&[], &[1])), &[], &[1], true, 9999, None),
        ];
        for (name, told, firing, resolved, send_resolved, now, want) in cases {
            let set = |s: &[u64]| s.iter().copied().collect::<BTreeSet<u64>>();
            let entry = told.map(|(f, r)| NflogEntry {
                told_at: 1000,
                firing: set(f),
                resolved: set(r),
                expires_at: i64::MAX,
                kept: Default::default(),
            });
            let got = decide(entry.as_ref(), &set(firing), &set(resolved), *send_resolved, 100, *now);
            assert_eq!(got, *want, "{name}");
        }
    }
}
