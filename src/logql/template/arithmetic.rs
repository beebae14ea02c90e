//! Functions on numbers. Those with an `f` work on floats, the others on whole numbers; any text that reads as one is taken.

use super::{float, register, text, whole};
use crate::logql::lex::{parse_bytes, parse_go_duration_ns};
use crate::text::go_template::{FuncMap, Value};

pub(super) fn add(map: &mut FuncMap) {
    register(map, "add", None, |a| Ok(Value::Int(wholes(a).fold(0, i64::wrapping_add))));
    register(map, "mul", None, |a| Ok(Value::Int(wholes(a).fold(1, i64::wrapping_mul))));
    register(map, "max", None, |a| Ok(Value::Int(wholes(a).max().unwrap_or(0))));
    register(map, "min", None, |a| Ok(Value::Int(wholes(a).min().unwrap_or(0))));
    register(map, "sub", Some(2), |a| Ok(Value::Int(whole(a, 0).wrapping_sub(whole(a, 1)))));
    register(map, "div", Some(2), |a| divided(a, i64::wrapping_div));
    register(map, "mod", Some(2), |a| divided(a, i64::wrapping_rem));
    register(map, "addf", None, |a| Ok(folded(a, |x, y| x + y)));
    register(map, "subf", None, |a| Ok(folded(a, |x, y| x - y)));
    register(map, "mulf", None, |a| Ok(folded(a, |x, y| x * y)));
    register(map, "divf", None, |a| Ok(folded(a, |x, y| x / y)));
    register(map, "maxf", None, |a| Ok(folded(a, f64::max)));
    register(map, "minf", None, |a| Ok(folded(a, f64::min)));
    register(map, "ceil", Some(1), |a| Ok(Value::Float(float(a, 0).ceil())));
    register(map, "floor", Some(1), |a| Ok(Value::Float(float(a, 0).floor())));
    register(map, "round", None, |a| {
        Ok(Value::Float(round(float(a, 0), whole(a, 1), if a.len() > 2 { float(a, 2) } else { 0.5 })))
    });
    register(map, "int", Some(1), |a| Ok(Value::Int(whole(a, 0))));
    register(map, "float64", Some(1), |a| Ok(Value::Float(float(a, 0))));
    register(map, "bytes", Some(1), |a| {
        let t = text(a, 0)?;
        parse_bytes(t).map(|b| Value::Float(b as f64)).ok_or_else(|| format!("unhandled size name: {t}"))
    });
    register(map, "duration", Some(1), seconds);
    register(map, "duration_seconds", Some(1), seconds);
}

fn wholes(args: &[Value]) -> impl Iterator<Item = i64> {
    (0..args.len()).map(|i| whole(args, i))
}

fn folded(args: &[Value], f: fn(f64, f64) -> f64) -> Value {
    Value::Float((0..args.len()).map(|i| float(args, i)).reduce(f).unwrap_or(0.0))
}

fn divided(args: &[Value], f: fn(i64, i64) -> i64) -> Result<Value, String> {
    match whole(args, 1) {
        0 => Err("runtime error: integer divide by zero".to_owned()),
        divisor => Ok(Value::Int(f(whole(args, 0), divisor))),
    }
}

fn seconds(args: &[Value]) -> Result<Value, String> {
    let t = text(args, 0)?;
    let ns = parse_go_duration_ns(t).ok_or_else(|| format!("time: invalid duration {t:?}"))?;
    Ok(Value::Float(ns as f64 / 1e9))
}

/// Rounds to so many decimals; a fraction of at least `up_from` is rounded away from zero.
fn round(v: f64, decimals: i64, up_from: f64) -> f64 {
    let scale = 10f64.powi(i32::try_from(decimals).unwrap_or(0).clamp(-300, 300));
    let scaled = v * scale;
    let fraction = scaled.abs().fract();
    let rounded = if fraction >= up_from { scaled.abs().ceil() } else { scaled.abs().floor() };
    rounded.copysign(v) / scale
}
