//! Lines that give the start timestamps of the samples of the next line: `metric{a="b"}@st -30s _ -1m-1mx2 *`.

use crate::promql::script::series_desc::MAX_VALUES;
use crate::text::duration::parse_ms;

/// How far before (negative) or after its sample a start timestamp lies, in milliseconds; `None` where there is none.
pub type StartOffset = Option<i64>;

/// Reads a sequence: `_` none, `_x3`, `-30s` an offset, `-30sx3` four times, `-1m-1mx2` is `-1m -2m -3m`, `*` the last one
/// again, `*x3`. The error is a sentence.
pub fn parse_start_offsets(text: &str) -> Result<Vec<StartOffset>, String> {
    let mut out: Vec<StartOffset> = Vec::new();
    for item in text.split_whitespace() {
        let last = out.iter().rev().find_map(|o| *o).unwrap_or(0);
        let (first, step, count) = parse_item(item, last).map_err(|e| format!("start timestamp {item:?}: {e}"))?;
        if count > MAX_VALUES.saturating_sub(out.len()) {
            return Err(format!("the line describes more than {MAX_VALUES} start timestamps"));
        }
        let mut offset = first;
        for _ in 0..count {
            out.push(offset);
            offset = offset.map(|o| o.saturating_add(step));
        }
    }
    Ok(out)
}

fn parse_item(item: &str, last: i64) -> Result<(StartOffset, i64, usize), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = if rest.is_empty() { 1 } else { times(rest)? };
        return Ok((None, 0, count));
    }
    let (first, rest) = match item.strip_prefix('*') {
        Some(rest) => (last, rest),
        None => take_offset(item)?,
    };
    if rest.is_empty() {
        return Ok((Some(first), 0, 1));
    }
    let (step, rest) = if rest.starts_with('x') { (0, rest) } else { take_offset(rest)? };
    Ok((Some(first), step, times(rest)?.saturating_add(1)))
}

fn times(text: &str) -> Result<usize, String> {
    let digits = text.strip_prefix('x').ok_or("expected x and a count")?;
    digits.parse().map_err(|_| format!("{digits:?} is no count"))
}

/// Cuts a duration with an optional sign off the start. It reaches up to the `x` of the count or the sign of the step.
fn take_offset(text: &str) -> Result<(i64, &str), String> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_alphanumeric() || c == 'x').unwrap_or(unsigned.len());
    let (duration, rest) = unsigned.split_at(end);
    let ms = parse_ms(duration).map_err(|e| e.to_string())?;
    Ok((if text.starts_with('-') { -ms } else { ms }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands() {
        let show = |s: &str| {
            parse_start_offsets(s)
                .map(|v| v.iter().map(|o| o.map_or("_".to_owned(), |o| o.to_string())).collect::<Vec<_>>().join(" "))
        };
        for (text, want) in [
            ("_ _x2 -30s", "_ _ _ -30000"),
            ("-1m-1mx2 5s", "-60000 -120000 -180000 5000"),
            ("-59999ms-1mx1 0-1mx1", "-59999 -119999 0 -60000"),
            ("-0msx1 1ms", "0 0 1"),
            ("-1s * _ *x1 -2s+1s500msx1", "-1000 -1000 _ -1000 -1000 -2000 -500"),
        ] {
            assert_eq!(show(text).as_deref(), Ok(want), "{text}");
        }
        for text in ["x", "1", "-1m-1m", "_y", "1mx", "1mx99999999999"] {
            assert!(show(text).is_err(), "{text}");
        }
    }
}
