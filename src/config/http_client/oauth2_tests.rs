//! Tokens as a server on loopback hands them out, and requests that carry them.

use std::sync::Arc;
use std::sync::Mutex as StdMutex;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};

use super::*;
use crate::config::http_client::client::HttpClient;

/// Path, `Authorization` and body of each request.
type Seen = Arc<StdMutex<Vec<(String, String, String)>>>;

async fn server() -> (String, Seen) {
    let seen = Seen::default();
    let shared = seen.clone();
    let answer = move |uri: Uri, headers: HeaderMap, body: String| {
        let seen = shared.clone();
        async move {
            let authorization = headers.get("authorization").map_or("", |v| v.to_str().unwrap()).to_owned();
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push((uri.path().to_owned(), authorization.clone(), body));
                seen.iter().filter(|(p, ..)| p == uri.path()).count()
            };
            tokens(uri.path(), !authorization.is_empty(), number)
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer);
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, seen)
}

fn tokens(path: &str, in_header: bool, number: usize) -> Response {
    let token = |life: &str| format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":{life}}}"#);
    match path {
        "/long" => token("3600").into_response(),
        // Shorter than the time by which a token is given up early.
        "/short" => token("\"5\"").into_response(),
        "/endless" => r#"{"access_token":"e","token_type":"Other"}"#.into_response(),
        "/body" if in_header => StatusCode::UNAUTHORIZED.into_response(),
        "/body" => token("60").into_response(),
        "/busy" => (StatusCode::SERVICE_UNAVAILABLE, "later").into_response(),
        "/no" => (StatusCode::BAD_REQUEST, r#"{"error":"invalid_client"}"#).into_response(),
        "/odd" => r#"{"token":"x"}"#.into_response(),
        _ => "fine".into_response(),
    }
}

fn config(base: &str, path: &str) -> HttpClientConfig {
    let oauth2 = serde_json::json!({
        "client_id": "me & co", "client_secret": "p:w", "scopes": ["a", "b"], "token_url": format!("{base}{path}"),
        "endpoint_params": {"audience": "all of it"},
    });
    serde_json::from_value(serde_json::json!({ "oauth2": oauth2 })).unwrap()
}

/// Sends requests with one client; gives the error of the last one, if it had one.
async fn ask(config: &HttpClientConfig, base: &str, times: usize) -> Option<ClientError> {
    let client = HttpClient::new(config, false).unwrap();
    for _ in 0..times {
        match client.request(reqwest::Method::GET, format!("{base}/target")).await {
            Ok(request) => assert_eq!(request.send().await.unwrap().text().await.unwrap(), "fine"),
            Err(e) => return Some(e),
        }
    }
    None
}

#[tokio::test]
async fn tokens_are_fetched_kept_and_renewed() {
    let form = "grant_type=client_credentials&scope=a+b&audience=all+of+it";
    let basic = "Basic bWUrJTI2K2NvOnAlM0F3";
    let with_secret = format!("{form}&client_id=me+%26+co&client_secret=p%3Aw");
    let asked = |path: &str| (path.to_owned(), basic.to_owned(), form.to_owned());
    let used = |header: &str| ("/target".to_owned(), header.to_owned(), String::new());
    for (path, wanted) in [
        ("/long", vec![asked("/long"), used("Bearer t1"), used("Bearer t1")]),
        ("/short", vec![asked("/short"), used("Bearer t1"), asked("/short"), used("Bearer t2")]),
        ("/endless", vec![asked("/endless"), used("Other e"), used("Other e")]),
        (
            "/body",
            vec![
                asked("/body"),
                ("/body".to_owned(), String::new(), with_secret),
                used("Bearer t2"),
                used("Bearer t2"),
            ],
        ),
    ] {
        let (base, seen) = server().await;
        assert!(ask(&config(&base, path), &base, 2).await.is_none());
        assert_eq!(*seen.lock().unwrap(), wanted, "{path}");
    }
}

#[tokio::test]
async fn a_token_that_was_refused_is_not_used_again() {
    let (base, seen) = server().await;
    let client = HttpClient::new(&config(&base, "/long"), false).unwrap();
    for (path, status) in [("/target", 200), ("/no", 400), ("/target", 200), ("/body", 401), ("/target", 200)] {
        let request = client.request(reqwest::Method::GET, format!("{base}{path}")).await.unwrap();
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        client.note_status(answer.status()).await;
    }
    let used: Vec<_> = seen.lock().unwrap().iter().filter(|s| s.0 == "/target").map(|s| s.1.clone()).collect();
    assert_eq!(used, ["Bearer t1", "Bearer t1", "Bearer t2"]);
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let (base, seen) = server().await;
    let gone = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for (at, path, again, part) in [
        (&base, "/busy", true, "503 Service Unavailable: later"),
        (&base, "/no", false, "invalid_client"),
        (&base, "/odd", false, "has no access_token"),
        (&base, "/", false, "is not JSON"),
        (&gone, "/", true, "refused"),
    ] {
        match ask(&config(at, path), &base, 1).await {
            Some(ClientError::Token { message, passes }) => {
                assert!(passes == again && message.contains(part), "{path}: {passes} {message}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert!(seen.lock().unwrap().iter().all(|(p, ..)| p != "/target"));
}

/// Through a proxy, which is asked for a tunnel with the configured headers, but for the hosts that need none.
#[tokio::test]
async fn proxies_get_their_headers_and_some_hosts_need_none() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (base, seen) = server().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    });
    let config: HttpClientConfig = serde_json::from_value(serde_json::json!({
        "proxy_url": proxy, "no_proxy": "127.0.0.1", "proxy_connect_header": {"X-Way": ["through"]},
    }))
    .unwrap();
    assert!(ask(&config, &base, 1).await.is_none(), "the host of no_proxy is reached without");
    assert_eq!(seen.lock().unwrap().len(), 1);
    let client = HttpClient::new(&config, false).unwrap();
    let request = client.request(reqwest::Method::GET, "https://far.invalid/").await.unwrap();
    assert!(request.send().await.is_err());
    let head = asked.await.unwrap();
    assert!(head.starts_with("connect far.invalid:443 ") && head.contains("x-way: through\r\n"), "{head}");
}

#[test]
fn what_is_wrong_with_oauth2() {
    for (json, path, message) in [
        (r#"{"oauth2":{}}"#, "oauth2.client_id", "needed"),
        (r#"{"oauth2":{"client_id":"a"}}"#, "oauth2.client_secret", "give client_secret or"),
        (
            r#"{"oauth2":{"client_id":"a","client_secret":"b","client_secret_file":"c"}}"#,
            "oauth2.client_secret",
            "at most one",
        ),
        (r#"{"oauth2":{"client_id":"a","client_secret":"b","token_url":"x"}}"#, "oauth2.token_url", "not an http"),
        (
            r#"{"oauth2":{"client_id":"a","client_secret":"b","token_url":"http://x/","no_proxy":"y"}}"#,
            "oauth2.no_proxy",
            "without proxy_url",
        ),
        (r#"{"oauth2":{},"bearer_token":"x"}"#, "authorization", "at most one of"),
        (r#"{"proxy_connect_header":{"A":["b"]}}"#, "proxy_connect_header", "without proxy_url"),
    ] {
        let config: HttpClientConfig = serde_json::from_str(json).unwrap();
        let mut problems = Problems::default();
        config.validate("h", &mut problems);
        let found = problems.into_vec();
        assert!(found.iter().any(|(p, m)| *p == format!("h.{path}") && m.contains(message)), "{json}: {found:?}");
    }
    let config: HttpClientConfig = serde_json::from_str(
        r#"{"oauth2":{"client_id":"a","client_secret":"hush"},"proxy_connect_header":{"A":["hush"]}}"#,
    )
    .unwrap();
    let shown = format!("{config:?} {}", serde_json::to_string(&config).unwrap());
    assert!(!shown.contains("hush"), "{shown}");
}
