//! campanile's own log, and the export of its own traces.

use std::io::IsTerminal;

use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::WithExportConfig;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// One readable line for each event.
    #[default]
    Text,
    /// One JSON object for each event.
    Json,
}

/// The environment variable that switches trace export on (the standard one of OpenTelemetry).
pub const OTLP_ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// Flushes traces when dropped at the end of the program.
#[derive(Default)]
pub struct TelemetryGuard {
    provider: Option<SdkTracerProvider>,
}

impl Drop for TelemetryGuard {
    fn drop(&mut self) {
        if let Some(p) = self.provider.take()
            && let Err(e) = p.shutdown()
        {
            tracing::warn!(error = %e, "the last traces could not be exported");
        }
    }
}

/// Sets the process' log up: to standard error, filtered by `RUST_LOG` (default `info`). With an OTLP endpoint in the
/// environment, spans are exported there as well. Call inside a tokio runtime, once.
pub fn init(format: LogFormat) -> TelemetryGuard {
    let filter = || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,tantivy=warn"));
    let log = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let log = match format {
        LogFormat::Json => log.json().flatten_event(true).with_filter(filter()).boxed(),
        LogFormat::Text => log.with_ansi(std::io::stderr().is_terminal()).with_filter(filter()).boxed(),
    };
    let endpoint = std::env::var(OTLP_ENDPOINT).ok().filter(|e| !e.is_empty());
    let exported = endpoint.as_deref().map(exporter);
    let (provider, failure) = match exported {
        Some(Ok(p)) => (Some(p), None),
        Some(Err(e)) => (None, Some(e)),
        None => (None, None),
    };
    let spans = provider.as_ref().map(|p| {
        tracing_opentelemetry::layer().with_tracer(p.tracer("campanile")).with_filter(EnvFilter::new("campanile=info"))
    });
    tracing_subscriber::registry().with(log).with(spans).init();
    if let Some(e) = failure {
        tracing::error!(error = %e, "traces are not exported");
    }
    TelemetryGuard { provider }
}

fn exporter(endpoint: &str) -> Result<SdkTracerProvider, opentelemetry_otlp::ExporterBuildError> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = opentelemetry_otlp::SpanExporter::builder().with_http().with_endpoint(url).build()?;
    let resource = Resource::builder().with_service_name("campanile").build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
