//! The test scripts of PromQL: `*.test` in the folder `promql`.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use campanile::promql::script::command::{CommandKind, parse_script};
use campanile::promql::script::{EvalOutput, ScriptBackend, SeriesData, run};
use campanile::promql::{format, format_pretty, parse};

use crate::report::AreaReport;

/// The scripts of the folder by name.
fn scripts(folder: &Path) -> Vec<(String, String)> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("directory entry").path()).collect();
    paths.retain(|p| p.extension().is_some_and(|e| e == "test"));
    paths.sort();
    paths
        .into_iter()
        .map(|p| {
            let text = std::fs::read_to_string(&p).unwrap_or_else(|e| panic!("{}: {e}", p.display()));
            (p.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(), text)
        })
        .collect()
}

/// Reads every script and every expression, evaluating nothing. An expression that is expected to fail need not be read; any
/// other must be, and must be the same after printing and reading again.
pub fn read_scripts(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    for (file, text) in scripts(folder) {
        let commands = match parse_script(&text) {
            Ok(commands) => commands,
            Err(e) => {
                report.count(format!("{file}:{}", e.line), Err(e.message));
                continue;
            }
        };
        for command in commands {
            if let CommandKind::Eval(eval) = command.kind {
                let outcome = match parse(&eval.expr) {
                    Ok(expr) => printed_the_same(&format(&expr)).and_then(|()| {
                        let pretty = parse(&format_pretty(&expr)).map_err(|e| e.to_string())?;
                        if format(&pretty) == format(&expr) { Ok(()) } else { Err(format!("pretty: {pretty}")) }
                    }),
                    Err(_) if eval.fail.is_some() => Ok(()),
                    Err(e) => Err(format!("{}: {e}", eval.expr)),
                };
                report.count(format!("{file}:{}", command.line), outcome);
            }
        }
    }
    report
}

fn printed_the_same(printed: &str) -> Result<(), String> {
    let again = parse(printed).map_err(|e| format!("printed as {printed}: {e}"))?;
    if format(&again) == printed { Ok(()) } else { Err(format!("printed as {printed}, then as {again}")) }
}

/// Runs every script, each on an engine made afresh.
pub fn replay(folder: &Path) -> AreaReport {
    let mut report = AreaReport::default();
    for (file, text) in scripts(folder) {
        let mut backend = Guarded(Box::new(campanile::promql::engine::EngineBackend::default()));
        let outcome = run(&file, &text, &mut backend);
        report.passed += outcome.passed;
        for failure in outcome.failures {
            report.count(format!("{file}:{}", failure.line), Err(format!("{}: {}", failure.expr, failure.message)));
        }
    }
    report
}

/// Turns a panic of the engine into a failure of one evaluation.
struct Guarded(Box<dyn ScriptBackend>);

impl Guarded {
    fn guard<T>(&mut self, call: impl FnOnce(&mut dyn ScriptBackend) -> Result<T, String>) -> Result<T, String> {
        // What a panic left half done at worst makes later evaluations of the script fail.
        catch_unwind(AssertUnwindSafe(|| call(self.0.as_mut()))).unwrap_or_else(|cause| {
            let text = cause.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| cause.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(format!("PANIC: {text}"))
        })
    }
}

impl ScriptBackend for Guarded {
    fn clear(&mut self) {
        self.0.clear();
    }

    fn load(&mut self, series: Vec<SeriesData>) -> Result<(), String> {
        self.guard(|b| b.load(series))
    }

    fn instant(&mut self, expr: &str, t: i64) -> Result<EvalOutput, String> {
        self.guard(|b| b.instant(expr, t))
    }

    fn range(&mut self, expr: &str, start: i64, end: i64, step: i64) -> Result<EvalOutput, String> {
        self.guard(|b| b.range(expr, start, end, step))
    }
}
