//! Elasticsearch's bulk API, for shippers that speak it, and what their clients ask before they send. Everything is there twice, at
//! the root and under `/elasticsearch`, which can be given to clients as their base. Documents become entries of the log store; there
//! is no schema, so templates, policies and pipelines are acknowledged and have no effect.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get, post};
use serde_json::{Value, json};

use crate::api::ApiState;
use crate::api::logs_in::{Received, refusal};
use crate::api::params::Params;
use crate::ingest::elastic_bulk::{Target, bulk, document, error_body, error_of};
use crate::ingest::{Intake, LogRequest, PushError};
use crate::wire::elastic_bulk::Verb;

const JSON: &str = "application/json";
/// Official clients refuse a server whose answers lack it.
const PRODUCT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("x-elastic-product"), HeaderValue::from_static("Elasticsearch"));
/// The name and id of the cluster that clients are told.
const CLUSTER: (&str, &str) = ("campanile", "campanile-logs-000000");

/// The routes.
pub fn router() -> Router<ApiState> {
    let with_base = routes().route("/", get(info)).route("/{index}", any(index)).fallback(unknown);
    routes().route("/", get(root)).route("/elasticsearch/", get(info)).nest("/elasticsearch", with_base)
}

fn routes() -> Router<ApiState> {
    let paths: [(&str, MethodRouter<ApiState>); 27] = [
        ("/_bulk", post(bulk_at_root).put(bulk_at_root)),
        ("/{index}/_bulk", post(bulk_in_index).put(bulk_in_index)),
        ("/{index}/_doc", post(add_document)),
        ("/{index}/_doc/{id}", post(index_document).put(index_document)),
        ("/{index}/_create/{id}", post(create_document).put(create_document)),
        ("/_license", get(license)),
        ("/_xpack", get(xpack)),
        ("/_cluster/health", get(health)),
        ("/_cluster/health/{index}", get(health)),
        ("/_cat/health", get(cat_health)),
        ("/_nodes", get(nodes)),
        ("/_nodes/{*what}", get(nodes)),
        ("/_index_template", get(index_template)),
        ("/_index_template/{name}", get(index_template).put(acknowledge).post(acknowledge).delete(acknowledge)),
        ("/_component_template", get(component_template)),
        ("/_component_template/{name}", get(component_template).put(acknowledge).post(acknowledge).delete(acknowledge)),
        ("/_template", get(template)),
        ("/_template/{name}", get(template).put(acknowledge).post(acknowledge).delete(acknowledge)),
        ("/_ilm/policy", get(policy)),
        ("/_ilm/policy/{name}", get(policy).put(acknowledge).delete(acknowledge)),
        ("/_ingest/pipeline", get(pipeline)),
        ("/_ingest/pipeline/{name}", get(pipeline).put(acknowledge).delete(acknowledge)),
        ("/_data_stream", get(data_stream)),
        ("/_data_stream/{name}", get(data_stream).put(acknowledge).delete(acknowledge)),
        ("/_data_stream/{name}/_lifecycle", get(data_stream).put(acknowledge).delete(acknowledge)),
        ("/_alias/{name}", get(alias)),
        ("/{index}/_alias/{name}", get(alias).put(acknowledge).post(acknowledge)),
    ];
    paths.into_iter().fold(Router::new(), |router, (path, method)| router.route(path, method))
}

fn answer(status: StatusCode, body: String) -> Response {
    (status, [PRODUCT, (header::CONTENT_TYPE, HeaderValue::from_static(JSON))], body).into_response()
}

fn ok(body: &Value) -> Response {
    answer(StatusCode::OK, body.to_string())
}

fn failed(error: &PushError) -> Response {
    let mut response = refusal(error, JSON, error_of(error));
    response.headers_mut().insert(PRODUCT.0, PRODUCT.1);
    response
}

/// The root of the one port belongs to people; clients of Elasticsearch do not ask for HTML.
async fn root(state: State<ApiState>, headers: HeaderMap) -> Response {
    let html = |v: &HeaderValue| v.to_str().is_ok_and(|t| t.contains("text/html"));
    if headers.get(header::ACCEPT).is_some_and(html) {
        return StatusCode::NOT_FOUND.into_response();
    }
    info(state).await
}

async fn info(State(state): State<ApiState>) -> Response {
    let version = state.config.load().config.logs.elastic.version.clone();
    ok(&json!({
        "name": CLUSTER.0,
        "cluster_name": CLUSTER.0,
        "cluster_uuid": CLUSTER.1,
        "version": {
            "number": version,
            "build_flavor": "default",
            "build_type": "tar",
            "build_hash": env!("CARGO_PKG_VERSION"),
            "build_date": "2026-01-01T00:00:00.000000000Z",
            "build_snapshot": false,
            "lucene_version": "10.0.0",
            "minimum_wire_compatibility_version": "7.17.0",
            "minimum_index_compatibility_version": "7.0.0",
        },
        "tagline": "You Know, for Search",
    }))
}

async fn license() -> Response {
    let license =
        json!({"uid": CLUSTER.1, "type": "basic", "mode": "basic", "status": "active", "issued_to": CLUSTER.0});
    ok(&json!({"license": license}))
}

async fn xpack() -> Response {
    let off = json!({"available": false, "enabled": false});
    let on = json!({"available": true, "enabled": true});
    let features = json!({"ilm": on, "data_streams": on, "security": off, "monitoring": off, "ml": off});
    let license = json!({"uid": CLUSTER.1, "type": "basic", "mode": "basic", "status": "active"});
    ok(&json!({"build": {"hash": env!("CARGO_PKG_VERSION")}, "license": license, "features": features}))
}

async fn health() -> Response {
    ok(&json!({
        "cluster_name": CLUSTER.0, "status": "green", "timed_out": false, "number_of_nodes": 1, "number_of_data_nodes": 1,
        "active_primary_shards": 1, "active_shards": 1, "relocating_shards": 0, "initializing_shards": 0,
        "unassigned_shards": 0, "delayed_unassigned_shards": 0, "number_of_pending_tasks": 0,
        "number_of_in_flight_fetch": 0, "task_max_waiting_in_queue_millis": 0, "active_shards_percent_as_number": 100.0,
    }))
}

async fn cat_health(State(state): State<ApiState>) -> Response {
    let seconds = state.clock.now_ms() / 1000;
    let body = format!("{seconds} 00:00:00 {} green 1 1 1 1 0 0 0 0 - 100.0%\n", CLUSTER.0);
    ([PRODUCT, (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"))], body).into_response()
}

async fn nodes(State(state): State<ApiState>, headers: HeaderMap) -> Response {
    let version = state.config.load().config.logs.elastic.version.clone();
    // The address by which the client came: one that looks for nodes finds the one it has.
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("127.0.0.1").to_owned();
    let node = json!({
        "name": CLUSTER.0, "version": version, "roles": ["data", "ingest", "master"], "ip": "127.0.0.1",
        "http": {"bound_address": [host], "publish_address": host, "max_content_length_in_bytes": 64 << 20},
    });
    ok(&json!({
        "_nodes": {"total": 1, "successful": 1, "failed": 0},
        "cluster_name": CLUSTER.0,
        "nodes": {CLUSTER.1: node},
    }))
}

async fn acknowledge() -> Response {
    ok(&json!({"acknowledged": true}))
}

/// The last part of the path, which names what is asked for.
fn name_in(uri: &Uri) -> String {
    uri.path().rsplit('/').find(|p| !p.is_empty()).unwrap_or("").to_owned()
}

async fn index_template(uri: Uri) -> Response {
    let name = name_in(&uri);
    let template = json!({"index_patterns": [format!("{name}*")], "composed_of": [], "data_stream": {}});
    ok(&json!({"index_templates": [{"name": name, "index_template": template}]}))
}

async fn component_template(uri: Uri) -> Response {
    ok(&json!({"component_templates": [{"name": name_in(&uri), "component_template": {"template": {}}}]}))
}

async fn template(uri: Uri) -> Response {
    let name = name_in(&uri);
    ok(
        &json!({&name: {"order": 0, "index_patterns": [format!("{name}*")], "settings": {}, "mappings": {}, "aliases": {}}}),
    )
}

async fn policy(uri: Uri) -> Response {
    ok(&json!({name_in(&uri): {"version": 1, "modified_date": "2026-01-01T00:00:00.000Z", "policy": {"phases": {}}}}))
}

async fn pipeline(uri: Uri) -> Response {
    ok(&json!({name_in(&uri): {"processors": []}}))
}

async fn data_stream(uri: Uri) -> Response {
    let stream = json!({
        "name": name_in(&uri), "timestamp_field": {"name": "@timestamp"}, "indices": [], "generation": 1,
        "status": "GREEN", "template": name_in(&uri), "hidden": false, "system": false,
    });
    ok(&json!({"data_streams": [stream]}))
}

async fn alias(uri: Uri) -> Response {
    let name = name_in(&uri);
    ok(&json!({&name: {"aliases": {&name: {"is_write_index": true}}}}))
}

/// Any index is there, and can be made.
async fn index(method: Method, Path(name): Path<String>) -> Response {
    match method {
        Method::GET | Method::HEAD => ok(&json!({&name: {"aliases": {}, "mappings": {}, "settings": {}}})),
        Method::PUT => ok(&json!({"acknowledged": true, "shards_acknowledged": true, "index": name})),
        _ => no_handler(&method, &name),
    }
}

async fn unknown(method: Method, uri: Uri) -> Response {
    no_handler(&method, uri.path())
}

fn no_handler(method: &Method, path: &str) -> Response {
    let reason = format!(
        "no handler found for uri [{path}] and method [{method}]: logs are taken here and asked for with LogQL"
    );
    answer(StatusCode::BAD_REQUEST, error_body(400, "illegal_argument_exception", &reason))
}

fn target(state: &ApiState, query: Option<String>, index: Option<String>) -> Target {
    let params = Params::parse(query.unwrap_or_default().as_bytes());
    Target::read(&state.config.load().config.logs.elastic, params.iter(), index)
}

async fn take_bulk(state: ApiState, query: Option<String>, index: Option<String>, request: Request<Body>) -> Response {
    let target = target(&state, query, index);
    let result = async {
        let received = Received::read(&state, request).await?;
        received.push(&state, move |intake: &Intake, r: &LogRequest<'_>| bulk(intake, &target, r)).await
    };
    match result.await {
        Ok(body) => answer(StatusCode::OK, body),
        Err(e) => failed(&e),
    }
}

async fn bulk_at_root(State(state): State<ApiState>, RawQuery(query): RawQuery, request: Request<Body>) -> Response {
    take_bulk(state, query, None, request).await
}

async fn bulk_in_index(
    State(state): State<ApiState>,
    Path(index): Path<String>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    take_bulk(state, query, Some(index), request).await
}

async fn take_document(
    state: ApiState,
    query: Option<String>,
    verb: Verb,
    (index, id): (String, Option<String>),
    request: Request<Body>,
) -> Response {
    let target = target(&state, query, Some(index));
    let result = async {
        let received = Received::read(&state, request).await?;
        let work = move |intake: &Intake, r: &LogRequest<'_>| document(intake, &target, verb, id.as_deref(), r);
        received.push(&state, work).await
    };
    match result.await {
        Ok((status, body)) => answer(StatusCode::from_u16(status).unwrap_or(StatusCode::OK), body),
        Err(e) => failed(&e),
    }
}

async fn add_document(
    State(state): State<ApiState>,
    Path(index): Path<String>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    take_document(state, query, Verb::Index, (index, None), request).await
}

async fn index_document(
    State(state): State<ApiState>,
    Path((index, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    take_document(state, query, Verb::Index, (index, Some(id)), request).await
}

async fn create_document(
    State(state): State<ApiState>,
    Path((index, id)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    request: Request<Body>,
) -> Response {
    take_document(state, query, Verb::Create, (index, Some(id)), request).await
}
