//! How long a page of a node exporter takes: parsing alone, and parsing with all labels.

use std::hint::black_box;

use campanile::wire::exposition::protobuf::{DecodedBody, Histograms};
use campanile::wire::exposition::{Entry, Format, Parser, labels};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// A page with the shape of a node exporter's: about 1,200 samples, HELP and TYPE for each family, values with and without fractions.
fn page() -> String {
    let mut out = String::new();
    for family in 0..120 {
        let name = format!("node_subsystem{family}_some_measure_total");
        out.push_str(&format!(
            "# HELP {name} What this family of the subsystem counts, in words.\n# TYPE {name} counter\n"
        ));
        for i in 0..10 {
            let value = match i % 3 {
                0 => format!("{}", family * 7919 + i),
                1 => format!("{}.{:02}", family * 131 + i, i * 9),
                _ => format!("{}e+{:02}", 1.5 + f64::from(i), 9),
            };
            out.push_str(&format!("{name}{{cpu=\"{i}\",mode=\"iowait\",device=\"/dev/mapper/vg0-root\"}} {value}\n"));
        }
    }
    out
}

fn bench(c: &mut Criterion) {
    let page = page();
    let lines = page.lines().count() as u64;
    let mut group = c.benchmark_group("exposition");
    group.throughput(Throughput::Elements(lines));
    group.bench_function("parse page (per line)", |b| {
        b.iter(|| {
            let mut decoded = DecodedBody::default();
            let Ok(mut p) = Parser::new(page.as_bytes(), Format::PrometheusText, Histograms::default(), &mut decoded)
            else {
                return black_box(0.0);
            };
            let mut sum = 0.0;
            while let Ok(Some(e)) = p.next_entry() {
                if let Entry::Series(s) = e {
                    sum += s.value;
                }
            }
            black_box(sum)
        });
    });
    group.bench_function("parse page with labels (per line)", |b| {
        b.iter(|| {
            let mut decoded = DecodedBody::default();
            let mut pairs = Vec::new();
            let Ok(mut p) = Parser::new(page.as_bytes(), Format::PrometheusText, Histograms::default(), &mut decoded)
            else {
                return black_box(0);
            };
            let mut n = 0;
            while let Ok(Some(e)) = p.next_entry() {
                if let Entry::Series(s) = e
                    && labels::parse(s.raw, s.last_type, &mut pairs).is_ok()
                {
                    n += pairs.len();
                }
            }
            black_box(n)
        });
    });
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
