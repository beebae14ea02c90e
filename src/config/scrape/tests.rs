use super::*;
use crate::config::Problems;
use crate::config::global::GlobalConfig;

fn problems(global: &str, jobs: &str) -> Vec<String> {
    let global: GlobalConfig = serde_saphyr::from_str(global).unwrap();
    let jobs: Vec<ScrapeConfig> = serde_saphyr::from_str(jobs).unwrap();
    let mut found = Problems::default();
    global.validate("global", &mut found);
    validate_all(&jobs, &global, "scrape_configs", &mut found);
    found.into_vec().into_iter().map(|(path, message)| format!("{path}: {message}")).collect()
}

#[test]
fn every_problem_says_where_and_what_to_do() {
    for (global, jobs, want) in [
        (
            "{}",
            "[{job_name: a}, {job_name: a}]",
            "scrape_configs[1].job_name: \"a\" is the name of scrape_configs[0] already; give each job its own",
        ),
        ("{}", "[{metrics_path: /x}]", "scrape_configs[0].job_name: is empty; give the job a name"),
        (
            "{scrape_interval: 15s}",
            "[{job_name: a}, {job_name: b, scrape_timeout: 30s}]",
            "scrape_configs[1].scrape_timeout: (30s) is longer than scrape_interval (15s); lower it or raise the interval",
        ),
        (
            "{scrape_interval: 5s, scrape_timeout: 6s}",
            "[]",
            "global.scrape_timeout: (6s) is longer than scrape_interval (5s); lower it or raise the interval",
        ),
        (
            "{}",
            "[{job_name: a, scrape_interval: 0s}]",
            "scrape_configs[0].scrape_interval: is zero; give an interval such as 15s",
        ),
        (
            "{}",
            "[{job_name: a, metric_name_validation_scheme: legacy, metric_name_escaping_scheme: allow-utf-8}]",
            "scrape_configs[0].metric_name_escaping_scheme: asks for UTF-8 names with allow-utf-8, and metric_name_validation_scheme is legacy; change one of them",
        ),
        (
            "{}",
            "[{job_name: a, kubernetes_sd_configs: [{role: pod}]}]",
            "scrape_configs[0].kubernetes_sd_configs: is not supported yet; use static_configs, or file_sd_configs with a program that writes the file",
        ),
        (
            "{}",
            "[{job_name: a, scrape_protocols: [PrometheusProto, PrometheusProto]}]",
            "scrape_configs[0].scrape_protocols[1]: stands in the list twice; remove one",
        ),
        (
            "{}",
            "[{job_name: a, oauth2: {client_id: x, token_url: 'http://x/'}}]",
            "scrape_configs[0].oauth2.client_secret: give client_secret or client_secret_file",
        ),
        (
            "{}",
            "[{job_name: a, bearer_token: x, bearer_token_file: y}]",
            "scrape_configs[0].bearer_token: at most one of bearer_token and bearer_token_file may be given; keep one of them",
        ),
        (
            "{}",
            "[{job_name: a, authorization: {type: Basic}}]",
            "scrape_configs[0].authorization.type: cannot be \"basic\"; use basic_auth instead",
        ),
        (
            "{}",
            "[{job_name: a, tls_config: {cert_file: x}}]",
            "scrape_configs[0].tls_config.cert: a client certificate needs both cert(_file) and key(_file)",
        ),
        (
            "{}",
            "[{job_name: a, tls_config: {min_version: TLS13, max_version: TLS12}}]",
            "scrape_configs[0].tls_config.min_version: is above max_version; swap them or remove one",
        ),
        (
            "{}",
            "[{job_name: a, http_headers: {Host: {values: [x]}}}]",
            "scrape_configs[0].http_headers.Host: is set by campanile itself and cannot be given here",
        ),
        (
            "{}",
            "[{job_name: a, proxy_url: '::'}]",
            "scrape_configs[0].proxy_url: is not a URL of a proxy; write it like http://proxy.example:3128",
        ),
        (
            "{}",
            "[{job_name: a, static_configs: [{targets: ['http://x/y']}]}]",
            "scrape_configs[0].static_configs[0].targets[0]: \"http://x/y\" is not a valid hostname; write host:port, and the path as metrics_path",
        ),
        (
            "{}",
            "[{job_name: a, file_sd_configs: [{files: [x.txt]}]}]",
            "scrape_configs[0].file_sd_configs[0].files[0]: path name \"x.txt\" is not valid; it must end in .yml, .yaml or .json, with * only in its last part",
        ),
        (
            "{}",
            "[{job_name: a, relabel_configs: [{action: hashmod, target_label: x}]}]",
            "scrape_configs[0].relabel_configs[0]: relabel configuration for hashmod requires non-zero modulus",
        ),
        (
            "{metric_name_validation_scheme: legacy}",
            "[{job_name: a, metric_relabel_configs: [{target_label: 'a.b', replacement: x}]}]",
            "scrape_configs[0].metric_relabel_configs[0]: \"a.b\" is invalid 'target_label' for replace action",
        ),
        ("{runtime: {gogc: 50}}", "[]", "global.runtime: is not supported; remove the key"),
    ] {
        assert_eq!(problems(global, jobs), [want], "{jobs}");
    }
}

#[test]
fn a_full_job_is_accepted() {
    let jobs = r"
- job_name: node
  scrape_interval: 30s
  honor_labels: true
  honor_timestamps: false
  params: {'collect[]': [cpu, meminfo]}
  scheme: https
  basic_auth: {username: u, password_file: secrets/p}
  tls_config: {ca_file: ca.pem, insecure_skip_verify: false, min_version: TLS12}
  follow_redirects: false
  enable_http2: false
  fallback_scrape_protocol: PrometheusText0.0.4
  body_size_limit: 10MB
  relabel_configs:
    - source_labels: [__address__]
      regex: (.+):\d+
      target_label: host
  static_configs:
    - targets: [a:9100]
      labels: {env: prod}
  file_sd_configs:
    - files: [targets/*.yml]
";
    assert_eq!(problems("{scrape_interval: 15s, external_labels: {site: x}}", jobs), [] as [String; 0]);
    let mut parsed: Vec<ScrapeConfig> = serde_saphyr::from_str(jobs).unwrap();
    let config = &mut parsed[0];
    config.resolve_paths(Path::new("/etc/campanile"));
    let job = config.job(&GlobalConfig::default());
    assert_eq!((job.interval.as_ms(), job.timeout.as_ms()), (30_000, 10_000));
    assert!(job.honor_labels && !job.honor_timestamps && job.enable_compression);
    let http = &job.http;
    assert_eq!(http.tls_config.as_ref().unwrap().ca_file.as_deref(), Some(Path::new("/etc/campanile/ca.pem")));
    assert_eq!(job.file_sd_configs[0].files, [Path::new("/etc/campanile/targets/*.yml")]);
    assert!(!serde_json::to_string(&config).unwrap().contains("kubernetes"));
}

#[test]
fn unknown_keys_are_refused() {
    assert!(serde_saphyr::from_str::<Vec<ScrapeConfig>>("[{job_name: a, scrape_intervall: 5s}]").is_err());
    assert!(serde_saphyr::from_str::<GlobalConfig>("{scrape_intervall: 5s}").is_err());
}
