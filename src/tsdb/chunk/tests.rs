//! Round trips of the encodings, bit by bit.

use proptest::prelude::*;

use super::*;
use crate::model::histogram::{CounterResetHint, Span};
use crate::model::sample::{NORMAL_NAN_BITS, STALE_NAN_BITS};

fn bits() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => (-1000i64..1000).prop_map(|i| (i as f64).to_bits()),
        4 => (-100_000i64..100_000).prop_map(|i| (i as f64 / 100.0).to_bits()),
        2 => any::<u64>(),
        1 => Just(STALE_NAN_BITS),
        1 => Just(NORMAL_NAN_BITS),
        1 => Just((-0.0f64).to_bits()),
        1 => Just(f64::INFINITY.to_bits()),
    ]
}

fn columns() -> impl Strategy<Value = (Vec<i64>, Vec<u64>)> {
    let steps = prop_oneof![
        prop::collection::vec(Just(15_000i64), 1..300),
        prop::collection::vec(14_990i64..15_010, 1..300),
        prop::collection::vec(1i64..1 << 40, 1..50),
    ];
    (-(1i64 << 50)..1 << 50, steps).prop_flat_map(|(first, steps)| {
        let mut t = first;
        let times: Vec<i64> = steps
            .iter()
            .map(|s| {
                t += s;
                t
            })
            .collect();
        let n = times.len();
        (Just(times), prop_oneof![prop::collection::vec(bits(), n), bits().prop_map(move |b| vec![b; n])])
    })
}

fn read(chunk: &Chunk) -> (Vec<i64>, Vec<u64>) {
    let (mut t, mut v) = (Vec::new(), Vec::new());
    View::parse(&chunk.data).unwrap().floats_between(i64::MIN, i64::MAX, &mut t, &mut v).unwrap();
    (t, v.into_iter().map(f64::to_bits).collect())
}

proptest! {
    #[test]
    fn floats_come_back_bit_by_bit((times, values) in columns()) {
        let mut open = OpenXor::default();
        for (t, v) in times.iter().zip(&values) {
            open.push(*t, f64::from_bits(*v));
        }
        let starts = if times.len() > 7 { vec![(0, 5), (7, -9)] } else { vec![] };
        let plain = seal_xor(&open, &starts);
        prop_assert_eq!((plain.mint, plain.maxt), (times[0], times[times.len() - 1]));
        prop_assert_eq!(read(&plain), (times.clone(), values.clone()));
        if let Some(packed) = Packer::default().pack(&plain) {
            prop_assert!(packed.data.len() < plain.data.len());
            prop_assert_eq!(View::parse(&packed.data).unwrap().starts().to_vec(), starts);
            prop_assert_eq!(read(&packed), (times, values));
        }
    }

    #[test]
    fn a_range_is_cut_out((times, values) in columns(), a in 0usize..300, b in 0usize..300) {
        let floats: Vec<f64> = values.iter().map(|b| f64::from_bits(*b)).collect();
        let chunk = encode_floats(&times, &floats, &[]);
        let (a, b) = (times[a % times.len()], times[b % times.len()]);
        let (mut t, mut v) = (Vec::new(), Vec::new());
        View::parse(&chunk.data).unwrap().floats_between(a, b, &mut t, &mut v).unwrap();
        let want: Vec<i64> = times.iter().copied().filter(|t| (a..=b).contains(t)).collect();
        prop_assert_eq!(t, want);
    }

    #[test]
    fn damage_is_an_error_and_never_a_panic((times, values) in columns(), at in any::<prop::sample::Index>(), flip in 1u8..) {
        let floats: Vec<f64> = values.iter().map(|b| f64::from_bits(*b)).collect();
        let mut data = encode_floats(&times, &floats, &[(0, 1)]).data;
        let at = at.index(data.len());
        data[at] ^= flip;
        if let Ok(view) = View::parse(&data) {
            let _any = view.floats(|_, _| true);
            let _any = view.histograms(|_, _| true);
        }
        let cut = &data[..at];
        if let Ok(view) = View::parse(cut) {
            let _any = view.floats(|_, _| true);
        }
    }

    #[test]
    fn histograms_come_back_bit_by_bit(rows in prop::collection::vec((1i64..100_000, prop::collection::vec(bits(), 9), 0usize..4), 1..40)) {
        let mut open = OpenHistograms::default();
        let mut want = Vec::new();
        let mut t = -5000;
        for (step, b, kind) in rows {
            t += step;
            let f: Vec<f64> = b.iter().map(|b| f64::from_bits(*b)).collect();
            let h = Arc::new(FloatHistogram {
                counter_reset_hint: [CounterResetHint::Unknown, CounterResetHint::Reset, CounterResetHint::NotReset, CounterResetHint::Gauge][kind],
                schema: if kind == 3 { -53 } else { kind as i32 },
                zero_threshold: if kind == 3 { 0.0 } else { 0.001 },
                zero_count: f[0],
                count: f[1],
                sum: f[2],
                positive_spans: vec![Span { offset: -3, length: 2 }, Span { offset: 4, length: 1 }],
                negative_spans: if kind == 2 { vec![Span { offset: i32::MIN, length: 2 }] } else { vec![] },
                positive_buckets: f[3..6].to_vec(),
                negative_buckets: if kind == 2 { f[6..8].to_vec() } else { vec![] },
                custom_values: if kind == 3 { f[6..9].to_vec() } else { vec![] },
            });
            open.push(t, h.clone());
            want.push((t, h));
        }
        let chunk = seal_histograms(&open, &[]);
        prop_assert!(is_histograms(&chunk.data));
        prop_assert_eq!(bounds(&chunk.data), Some(((want[0].0, want[want.len() - 1].0), want.len() as u16)));
        let mut i = 0;
        View::parse(&chunk.data).unwrap().histograms(|t, h| {
            assert!(want[i].0 == t && histogram::identical(&want[i].1, h), "row {i}");
            i += 1;
            true
        }).unwrap();
        prop_assert_eq!(i, want.len());
    }
}

#[test]
fn regular_constants_take_next_to_nothing() {
    let times: Vec<i64> = (0..240).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let constant = encode_floats(&times, &[42.0; 240], &[]);
    assert!(constant.data.len() <= 24, "{}", constant.data.len());
    let counter: Vec<f64> = (0..240).map(|i| f64::from(i * 100 + (i * 7919) % 97)).collect();
    let counter = encode_floats(&times, &counter, &[]);
    assert!(counter.data.len() <= 280, "{}", counter.data.len());
}
