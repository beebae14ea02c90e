//! Random appends, restarts and upkeep against a map.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::{Content, T0, content, copy, histogram, labels, open};
use crate::exec::clock::ManualClock;
use crate::tsdb::AppendError;

const RANGE: i64 = 7_200_000;
const WINDOW: i64 = 30 * 60_000;
const FUTURE: i64 = 10 * 60_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Value {
    Float(u64),
    Histogram(u64),
}

#[derive(Clone, Debug)]
enum Step {
    /// Samples as (series, minutes before now times a tenth, value).
    Append(Vec<(usize, i64, Value)>),
    /// A regular scrape of all series every 15 s for so many scrapes, moving the clock.
    Scrape(i64),
    Forward(i64),
    Maintain,
    Checkpoint,
    Reopen,
}

#[derive(Default)]
struct Model {
    series: Vec<BTreeMap<i64, Value>>,
    newest: Vec<i64>,
    visible_from: i64,
    min_t: i64,
    max_t: i64,
}

impl Model {
    fn new() -> Self {
        Model {
            series: vec![BTreeMap::new(); 5],
            newest: vec![i64::MIN; 5],
            visible_from: i64::MIN,
            min_t: i64::MAX,
            max_t: i64::MIN,
        }
    }

    fn check(&self, i: usize, t: i64, v: Value, floor: i64, now: i64) -> Result<bool, AppendError> {
        if t > now + FUTURE {
            return Err(AppendError::TooNew);
        }
        if t < self.visible_from {
            return Err(AppendError::TooOld);
        }
        if t > self.newest[i] {
            return Ok(true);
        }
        match self.series[i].get(&t) {
            _ if t < floor && t != self.newest[i] => Err(AppendError::OutOfOrder),
            Some(old) if *old == v => Ok(false),
            Some(_) => Err(AppendError::Duplicate),
            None => Ok(true),
        }
    }

    fn put(&mut self, i: usize, t: i64, v: Value) {
        self.series[i].insert(t, v);
        self.newest[i] = self.newest[i].max(t);
        self.min_t = self.min_t.min(t);
        self.max_t = self.max_t.max(t);
    }

    fn cut(&mut self) {
        while self.min_t <= self.max_t {
            let end = (self.min_t.max(self.visible_from).div_euclid(RANGE) + 1) * RANGE;
            if self.max_t - end < 3_600_000 {
                return;
            }
            self.visible_from = end;
            self.min_t = self.min_t.max(end);
        }
    }

    fn reopen(&mut self) {
        let from = self.visible_from;
        let head = |s: &BTreeMap<i64, Value>| s.keys().copied().filter(|t| *t >= from).collect::<Vec<i64>>();
        let all: Vec<Vec<i64>> = self.series.iter().map(head).collect();
        self.newest = all.iter().map(|t| t.last().copied().unwrap_or(i64::MIN)).collect();
        self.min_t = all.iter().flatten().copied().min().unwrap_or(i64::MAX);
        self.max_t = all.iter().flatten().copied().max().unwrap_or(i64::MIN);
    }

    fn content(&self, mint: i64, maxt: i64) -> Content {
        let rows = |s: &BTreeMap<i64, Value>, floats: bool| -> Vec<(i64, u64)> {
            let pick = |(t, v): (&i64, &Value)| match v {
                Value::Float(b) if floats => Some((*t, *b)),
                Value::Histogram(n) if !floats => Some((*t, *n)),
                Value::Float(_) | Value::Histogram(_) => None,
            };
            s.range(mint..=maxt).filter_map(pick).collect()
        };
        let all = self.series.iter().enumerate().map(|(i, s)| (labels(i), rows(s, true), rows(s, false)));
        all.filter(|(_, f, h)| !f.is_empty() || !h.is_empty()).collect()
    }
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        6 => (0u64..3).prop_map(|v| Value::Float((v as f64).to_bits())),
        1 => Just(Value::Float(crate::model::sample::STALE_NAN_BITS)),
        1 => any::<u64>().prop_map(Value::Float),
        1 => (0u64..3).prop_map(Value::Histogram),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec((0usize..5, -150i64..500, value()), 1..12).prop_map(Step::Append),
        2 => (1i64..300).prop_map(Step::Scrape),
        2 => (1i64..200).prop_map(Step::Forward),
        2 => Just(Step::Maintain),
        2 => Just(Step::Checkpoint),
        2 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]
    #[test]
    fn behaves_like_a_map(steps in prop::collection::vec(step(), 1..40), a in 0i64..1000, b in 0i64..1000, kill_at in prop::option::of(0usize..40)) {
        let dir = tempfile::tempdir().unwrap();
        let mut now = T0;
        let clock = Arc::new(ManualClock::at_ms(now));
        let mut db = Some(open(dir.path(), &clock));
        let mut model = Model::new();
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Append(samples) => {
                    let d = db.as_ref().unwrap();
                    let mut appender = d.appender();
                    let floor = model.max_t.saturating_sub(WINDOW);
                    let mut accepted = Vec::new();
                    for (i, before, v) in samples {
                        let t = now - before * 6000;
                        let l = labels(*i);
                        let pairs: Vec<(&str, &str)> = l.iter().collect();
                        let r = appender.series_from_pairs(&pairs).unwrap();
                        prop_assert_eq!(appender.series(&l), Ok(r));
                        let got = match v {
                            Value::Float(bits) => appender.float(r, t, f64::from_bits(*bits), 0),
                            Value::Histogram(n) => appender.histogram(r, t, &histogram(*n), 0),
                        };
                        let want = model.check(*i, t, *v, floor, now);
                        prop_assert_eq!(got, want.map(|_| ()), "series {} at {} ({:?}) of {:?}", i, t - T0, v, step);
                        if want == Ok(true) {
                            accepted.push((*i, t, *v));
                        }
                    }
                    // A batch stores its floats before its histograms.
                    accepted.sort_by_key(|(_, _, v)| matches!(v, Value::Histogram(_)));
                    let mut stored = 0;
                    for (i, t, v) in accepted {
                        if model.check(i, t, v, floor, now) == Ok(true) {
                            model.put(i, t, v);
                            stored += 1;
                        }
                    }
                    prop_assert_eq!(appender.commit().unwrap().samples, stored);
                }
                Step::Scrape(n) => {
                    let d = db.as_ref().unwrap();
                    for _ in 0..*n {
                        now += 15_000;
                        clock.set_ms(now);
                        let t = now.max(model.max_t + 1);
                        let mut appender = d.appender();
                        for i in 0..2 {
                            let r = appender.series(&labels(i)).unwrap();
                            appender.float(r, t, (now / 60_000 * (i as i64)) as f64, 0).unwrap();
                            model.put(i, t, Value::Float(((now / 60_000 * (i as i64)) as f64).to_bits()));
                        }
                        prop_assert_eq!(appender.commit().unwrap().samples, 2);
                    }
                }
                Step::Forward(minutes) => {
                    now += minutes * 60_000;
                    clock.set_ms(now);
                }
                Step::Maintain => {
                    db.as_ref().unwrap().maintain().unwrap();
                    model.cut();
                }
                Step::Checkpoint => db.as_ref().unwrap().checkpoint().unwrap(),
                Step::Reopen => {
                    drop(db.take());
                    db = Some(open(dir.path(), &clock));
                    model.reopen();
                }
            }
            let d = db.as_ref().unwrap();
            prop_assert_eq!(content(d, i64::MIN, i64::MAX), model.content(i64::MIN, i64::MAX), "after {:?}", step);
            if kill_at == Some(at) {
                // What a process that is killed here leaves behind.
                let left = tempfile::tempdir().unwrap();
                copy(dir.path(), left.path());
                let d = open(left.path(), &clock);
                prop_assert_eq!(content(&d, i64::MIN, i64::MAX), model.content(i64::MIN, i64::MAX), "killed after {:?}", step);
            }
        }
        let (mint, maxt) = (T0 + a.min(b) * 60_000, T0 + a.max(b) * 60_000);
        prop_assert_eq!(content(db.as_ref().unwrap(), mint, maxt), model.content(mint, maxt));
    }
}
