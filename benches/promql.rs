//! The PromQL engine over decoded columns: `cargo bench --bench promql`.

#![allow(clippy::expect_used, clippy::panic, reason = "a benchmark that cannot run has nothing to report")]
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;
use std::sync::Arc;

use campanile::model::{Column, LabelTable, Labels, Matcher};
use campanile::promql::{Admit, Engine, QueryError, QueryOptions, SelectHints, SelectedSeries, Storage, StorageError};
use criterion::{Criterion, criterion_group, criterion_main};

const STEP: i64 = 15_000;
const SAMPLES: i64 = 240;

/// Series in order of their labels.
struct Series {
    labels: Arc<LabelTable>,
    columns: Vec<Column>,
}

impl Series {
    fn of(mut series: Vec<(Labels, Column)>) -> Self {
        series.sort_by(|a, b| a.0.cmp(&b.0));
        let labels = Arc::new(LabelTable::from_sorted(series.iter().map(|s| &s.0)));
        Series { labels, columns: series.into_iter().map(|s| s.1).collect() }
    }
}

/// Series by metric name, as a store hands them out: sorted, decoded on reading.
struct Decoded(Vec<(String, Arc<Series>)>);

struct Found(Arc<Series>);

impl Storage for Decoded {
    fn select(
        &self,
        _: &SelectHints,
        matchers: &[Matcher],
        _: Admit<'_>,
    ) -> Result<Box<dyn SelectedSeries>, QueryError> {
        let name = matchers.iter().find(|m| m.name() == "__name__").expect("a metric name").value();
        let (_, series) = self.0.iter().find(|(n, _)| n == name).expect("a known metric");
        Ok(Box::new(Found(series.clone())))
    }
}

impl SelectedSeries for Found {
    fn labels(&self) -> &Arc<LabelTable> {
        &self.0.labels
    }

    fn size_bytes(&self) -> usize {
        0
    }

    fn read(&self, i: usize, mint: i64, maxt: i64, out: &mut Column) -> Result<(), StorageError> {
        let c = &self.0.columns[i];
        let (from, to) = (c.t.partition_point(|t| *t < mint), c.t.partition_point(|t| *t <= maxt));
        out.t.extend_from_slice(&c.t[from..to]);
        out.v.extend_from_slice(&c.v[from..to]);
        Ok(())
    }
}

fn series(pairs: &[(&str, &str)], slope: f64) -> (Labels, Column) {
    let mut c = Column::default();
    for k in 0..SAMPLES {
        // A reset every hundred samples.
        c.push_float(k * STEP, (k % 100) as f64 * slope, 0);
    }
    (Labels::from_pairs(pairs.iter().copied()), c)
}

fn data() -> Decoded {
    let modes = ["idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user"];
    let mut cpu = Vec::new();
    for host in 0..1250 {
        for (i, mode) in modes.iter().enumerate() {
            let instance = format!("host-{host}");
            cpu.push(series(
                &[("__name__", "cpu_seconds_total"), ("instance", &instance), ("mode", mode)],
                i as f64 + 0.5,
            ));
        }
    }
    let mut buckets = Vec::new();
    for host in 0..300 {
        for (i, le) in ["0.01", "0.05", "0.1", "0.5", "1", "2.5", "10", "+Inf"].iter().enumerate() {
            let instance = format!("host-{host}");
            let labels = [("__name__", "latency_bucket"), ("instance", instance.as_str()), ("le", le)];
            buckets.push(series(&labels, (i + 1) as f64));
        }
    }
    let sized = |name: &str| -> Vec<(Labels, Column)> {
        (0..5000)
            .map(|i| {
                let instance = format!("host-{i}");
                series(&[("__name__", name), ("instance", &instance)], 1.0)
            })
            .collect()
    };
    let named = |n: &str, s: Vec<(Labels, Column)>| (n.to_owned(), Arc::new(Series::of(s)));
    Decoded(vec![
        named("cpu_seconds_total", cpu),
        named("latency_bucket", buckets),
        named("size", sized("size")),
        named("avail", sized("avail")),
    ])
}

fn bench(c: &mut Criterion) {
    let data = data();
    let engine = Engine::default();
    let mut group = c.benchmark_group("promql");
    group.sample_size(20);
    for (name, query) in [
        ("sum_by_rate_10k_series_221_steps", "sum by (mode) (rate(cpu_seconds_total[5m]))"),
        ("histogram_quantile_2400_buckets", "histogram_quantile(0.99, sum by (le) (rate(latency_bucket[5m])))"),
        ("join_5k_series", "sum(avail / on (instance) size)"),
        (
            "sum_by_rate_of_uneven_steps",
            "sum by (mode) (rate(cpu_seconds_total[5m] offset 7s)) + sum by (mode) (rate(cpu_seconds_total[61s]))",
        ),
        ("topk_10k_series", "topk(10, cpu_seconds_total)"),
        ("sum_by_label_10k_series", "sum by (instance) (cpu_seconds_total)"),
        ("max_over_time_10k_series", "max by (mode) (max_over_time(cpu_seconds_total[10m]))"),
    ] {
        group.bench_function(name, |b| {
            b.iter(|| {
                let result = engine.range(&data, black_box(query), 300_000, 3_600_000, STEP, QueryOptions::default());
                black_box(result.expect("the query runs"))
            });
        });
    }
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
