//! What an unmodified Grafana asks of its three data sources, and the shapes it needs back.

use crate::harness::Server;

/// A server that has scraped itself at least once.
async fn with_data() -> Server {
    let server = Server::start("global: {scrape_interval: 1s}\n").await;
    server.until("up == 1").await;
    server
}

#[tokio::test]
async fn m4_p15_unknown_paths_are_404_and_only_gzip_is_used() {
    let server = with_data().await;
    for path in [
        "/nothing",
        "/rules/test/test",
        "/config/v1/rules",
        "/api/prom/rules/test/test",
        "/alertmanager/alertmanager/api/v2/status",
        "/loki/api/v1/nothing",
        "/alertmanager/nothing",
    ] {
        assert_eq!(server.try_get(path, &[]).await.0, 404, "{path}");
    }
    let ask =
        |path: &str, accept: &'static str| server.http.get(server.url(path)).header("accept-encoding", accept).send();
    let r = ask("/metrics", "zstd, deflate, br, gzip").await.unwrap();
    assert_eq!(r.headers().get("content-encoding").map(|v| v.as_bytes()), Some(b"gzip".as_slice()));
    let r = ask("/metrics", "zstd, br").await.unwrap();
    assert_eq!(r.headers().get("content-encoding"), None);
    let r = ask("/loki/api/v1/query_range?query=%7B", "gzip").await.unwrap();
    assert_eq!((r.status().as_u16(), r.headers().get("content-encoding")), (400, None));
}
