//! Remote write 2.0: `io.prometheus.write.v2.Request`, where labels are numbers of texts that stand at the front
//! (prometheus.io/docs/specs/prw/remote_write_spec_2_0). Samples and histograms are those of 1.0.

use crate::disk::varint::take_u64;
use crate::model::MetricType;
use crate::wire::protobuf::Field;
use crate::wire::remote_write::{
    DecodeError, TimeSeries, WireExemplar, WireMetadata, bytes, double, int, metric_type, next_field, read_histogram,
    read_sample, utf8, wrong,
};

/// A request, taken apart into its texts and its series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// The texts.
    pub symbols: Vec<&'a str>,
    /// The series as bytes; [`read_series`] reads one.
    pub series: Vec<&'a [u8]>,
}

/// Takes an unpacked request apart. Texts may stand behind the series that use them.
pub fn read_request(mut m: &[u8]) -> Result<Request<'_>, DecodeError> {
    const WHAT: &str = "write.v2.Request";
    let mut request = Request::default();
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            4 => request.symbols.push(utf8(wrong(bytes(&field), WHAT)?, "a symbol")?),
            5 => request.series.push(wrong(bytes(&field), WHAT)?),
            _ => {}
        }
    }
    Ok(request)
}

/// Adds numbers, packed or single.
fn numbers(field: &Field<'_>, out: &mut Vec<u64>) -> Result<(), DecodeError> {
    const WHAT: &str = "labels_refs";
    if let Some(v) = int(field) {
        out.push(v);
        return Ok(());
    }
    let mut packed = wrong(bytes(field), WHAT)?;
    while !packed.is_empty() {
        out.push(wrong(take_u64(&mut packed), WHAT)?);
    }
    Ok(())
}

fn symbol<'a>(symbols: &[&'a str], number: u64) -> Result<&'a str, DecodeError> {
    let found = usize::try_from(number).ok().and_then(|i| symbols.get(i));
    found.copied().ok_or(DecodeError::Protobuf("write.v2.Request: a reference to a symbol that is not there"))
}

fn pairs<'a>(symbols: &[&'a str], refs: &[u64], out: &mut Vec<(&'a str, &'a str)>) -> Result<(), DecodeError> {
    let (whole, rest) = refs.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(DecodeError::Protobuf("write.v2.Request: a label name without a value"));
    }
    for [name, value] in whole {
        out.push((symbol(symbols, *name)?, symbol(symbols, *value)?));
    }
    Ok(())
}

/// Reads one series into `out` (emptied first). Gives what it says of its family, without the name of it; `None` if it says nothing.
pub fn read_series<'a>(
    mut m: &'a [u8],
    symbols: &[&'a str],
    out: &mut TimeSeries<'a>,
) -> Result<Option<WireMetadata<'a>>, DecodeError> {
    const WHAT: &str = "write.v2.TimeSeries";
    out.clear();
    let mut refs = Vec::new();
    let mut metadata = None;
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            1 => numbers(&field, &mut refs)?,
            2 => out.samples.push(read_sample(wrong(bytes(&field), WHAT)?)?),
            3 => out.histograms.push(read_histogram(wrong(bytes(&field), WHAT)?)?),
            4 => out.exemplars.push(read_exemplar(wrong(bytes(&field), WHAT)?, symbols)?),
            5 => metadata = Some(read_metadata(wrong(bytes(&field), WHAT)?, symbols)?),
            6 => out.start = wrong(int(&field), WHAT)? as i64,
            _ => {}
        }
    }
    pairs(symbols, &refs, &mut out.labels)?;
    let says_nothing =
        |m: &WireMetadata<'_>| m.metric_type == MetricType::Unknown && m.help.is_empty() && m.unit.is_empty();
    Ok(metadata.filter(|m| !says_nothing(m)))
}

fn read_exemplar<'a>(mut m: &'a [u8], symbols: &[&'a str]) -> Result<WireExemplar<'a>, DecodeError> {
    const WHAT: &str = "write.v2.Exemplar";
    let mut e = WireExemplar { labels: Vec::new(), value: 0.0, timestamp: 0 };
    let mut refs = Vec::new();
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            1 => numbers(&field, &mut refs)?,
            2 => e.value = wrong(double(&field), WHAT)?,
            3 => e.timestamp = wrong(int(&field), WHAT)? as i64,
            _ => {}
        }
    }
    pairs(symbols, &refs, &mut e.labels)?;
    Ok(e)
}

fn read_metadata<'a>(mut m: &'a [u8], symbols: &[&'a str]) -> Result<WireMetadata<'a>, DecodeError> {
    const WHAT: &str = "write.v2.Metadata";
    let mut out = WireMetadata { family: "", metric_type: MetricType::Unknown, help: "", unit: "" };
    while let Some((number, field)) = next_field(&mut m, WHAT)? {
        match number {
            1 => out.metric_type = metric_type(wrong(int(&field), WHAT)?),
            3 => out.help = symbol(symbols, wrong(int(&field), WHAT)?)?,
            4 => out.unit = symbol(symbols, wrong(int(&field), WHAT)?)?,
            _ => {}
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::varint::put_u64;
    use crate::wire::protobuf::{put_field_bytes, put_field_varint};

    fn packed(numbers: &[u64]) -> Vec<u8> {
        let mut out = Vec::new();
        numbers.iter().for_each(|n| put_u64(&mut out, *n));
        out
    }

    fn request(refs: &[u64]) -> Vec<u8> {
        let (mut series, mut metadata, mut sample, mut out) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        put_field_bytes(&mut series, 1, &packed(refs));
        put_field_varint(&mut sample, 2, 1000);
        put_field_bytes(&mut series, 2, &sample);
        put_field_varint(&mut metadata, 1, 1);
        put_field_varint(&mut metadata, 3, 5);
        put_field_bytes(&mut series, 5, &metadata);
        put_field_varint(&mut series, 6, 900);
        put_field_bytes(&mut out, 5, &series);
        for s in ["", "__name__", "up", "job", "a", "helps"] {
            put_field_bytes(&mut out, 4, s.as_bytes());
        }
        out
    }

    #[test]
    fn references_become_labels() {
        let body = request(&[1, 2, 3, 4]);
        let r = read_request(&body).unwrap();
        let mut series = TimeSeries::default();
        let m = read_series(r.series[0], &r.symbols, &mut series).unwrap().unwrap();
        assert_eq!(series.labels, [("__name__", "up"), ("job", "a")]);
        assert_eq!((series.samples.as_slice(), series.start), ([(1000, 0.0)].as_slice(), 900));
        assert_eq!((m.metric_type, m.help), (MetricType::Counter, "helps"));
        for bad in [&[1, 2, 3][..], &[1, 99]] {
            let body = request(bad);
            let r = read_request(&body).unwrap();
            assert!(read_series(r.series[0], &r.symbols, &mut TimeSeries::default()).is_err());
        }
    }
}
