//! A running server's Alertmanager API, for commands.

use anyhow::{Context, bail};
use clap::Args;
use reqwest::Method;
use serde_json::Value;

/// Where the server is.
#[derive(Args)]
pub struct ServerArgs {
    /// The server's URL.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    pub server: String,
}

/// Sends a request to `/alertmanager/api/v2` and gives the answer's JSON, null if it has none; a failure's text becomes the error.
pub async fn call(
    server: &ServerArgs,
    method: Method,
    path: &str,
    params: &[(&str, String)],
    body: Option<&Value>,
) -> anyhow::Result<Value> {
    let query: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(params).finish();
    let base = server.server.trim_end_matches('/');
    let url = format!("{base}/alertmanager/api/v2/{path}{}{query}", if query.is_empty() { "" } else { "?" });
    let mut request = reqwest::Client::new().request(method, &url);
    if let Some(body) = body {
        request = request.header("content-type", "application/json").body(body.to_string());
    }
    let response = request.send().await.with_context(|| format!("cannot reach {base}"))?;
    let status = response.status();
    let text = response.text().await?;
    let answer: Value = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::Null) };
    if status.is_success() {
        return Ok(answer);
    }
    // Errors of form are objects, errors of meaning are bare strings.
    let said = answer.as_str().or_else(|| answer.get("message").and_then(Value::as_str)).unwrap_or(&text);
    bail!("{status}{}{said}", if said.is_empty() { "" } else { ": " })
}
