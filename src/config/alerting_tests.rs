//! What the checks of the alertmanager's configuration say.

use super::*;

fn problems(json: &str) -> Vec<(String, String)> {
    let config: AlertmanagerConfig = serde_json::from_str(json).unwrap_or_else(|e| panic!("{json}: {e}"));
    let mut p = Problems::default();
    config.validate("alertmanager", &mut p);
    p.into_vec()
}

#[test]
fn good_files_have_no_problems() {
    for json in [
        "{}",
        r#"{"route":{"receiver":"a"},"receivers":[{"name":"a"}]}"#,
        r#"{"global":{"resolve_timeout":"3m","smtp_smarthost":"mail:25","smtp_from":"a@b.example","slack_api_url":"http://x"},
            "route":{"receiver":"a","group_by":["..."],"routes":[{"match":{"team":"x"},"match_re":{"a":"b.*"},"matchers":["c=d"],
            "mute_time_intervals":["n"],"active_time_intervals":["m"],"group_wait":"0s"}]},
            "receivers":[{"name":"a","email_configs":[{"to":"x@y.example"}],"webhook_configs":[{"url":"http://127.0.0.1/h"}],"slack_configs":[]}],
            "time_intervals":[{"name":"n","time_intervals":[{"years":["2030"]}]}],"mute_time_intervals":[{"name":"m"}],
            "inhibit_rules":[{"source_match":{"a":"b"},"target_matchers":["c=~\"d|e\""],"equal":["f"]}],"templates":["*.tmpl"]}"#,
    ] {
        assert_eq!(problems(json), [], "{json}");
    }
}

#[test]
fn every_problem_has_its_path() {
    for (json, path, message) in [
        (r#"{"route":{"receiver":"b"},"receivers":[{"name":"a"}]}"#, "route.receiver", "there is no receiver \"b\""),
        (
            r#"{"route":{"receiver":"a","routes":[{"receiver":"x"}]},"receivers":[{"name":"a"}]}"#,
            "route.routes[0].receiver",
            "there is no receiver \"x\"",
        ),
        (r#"{"route":{},"receivers":[{"name":"a"}]}"#, "route.receiver", "needs a receiver"),
        (r#"{"receivers":[{"name":"a"}]}"#, "route", "no route that leads"),
        (r#"{"route":{"receiver":"a"},"receivers":[{"name":"a"},{"name":"a"}]}"#, "receivers[1].name", "there twice"),
        (
            r#"{"route":{"receiver":"a","matchers":["x=y"]},"receivers":[{"name":"a"}]}"#,
            "route",
            "must have no matchers",
        ),
        (
            r#"{"route":{"receiver":"a","group_by":["x","..."]},"receivers":[{"name":"a"}]}"#,
            "route.group_by",
            "must stand alone",
        ),
        (
            r#"{"route":{"receiver":"a","group_interval":"0s"},"receivers":[{"name":"a"}]}"#,
            "route.group_interval",
            "longer than zero",
        ),
        (
            r#"{"route":{"receiver":"a","routes":[{"match_re":{"x":"("}}]},"receivers":[{"name":"a"}]}"#,
            "route.routes[0].match_re.x",
            "invalid regular expression",
        ),
        (
            r#"{"route":{"receiver":"a","routes":[{"mute_time_intervals":["n"]}]},"receivers":[{"name":"a"}]}"#,
            "route.routes[0].mute_time_intervals[0]",
            "there is no time interval \"n\"",
        ),
        (
            r#"{"route":{"receiver":"a"},"receivers":[{"name":"a","wechat_configs":[{"to_user":"c"}]}]}"#,
            "receivers[0].wechat_configs",
            "wechat receivers are not supported yet",
        ),
        (
            r#"{"route":{"receiver":"a"},"receivers":[{"name":"a","webhook_configs":[{}]}]}"#,
            "receivers[0].webhook_configs[0].url",
            "needs url or url_file",
        ),
        (
            r#"{"route":{"receiver":"a"},"receivers":[{"name":"a","webhook_configs":[{"url":"ftp://x"}]}]}"#,
            "receivers[0].webhook_configs[0].url",
            "not an http",
        ),
        (
            r#"{"global":{"smtp_from":"a@b"},"route":{"receiver":"a"},"receivers":[{"name":"a","email_configs":[{"to":"x@y","smarthost":"mail"}]}]}"#,
            "receivers[0].email_configs[0].smarthost",
            "not host:port",
        ),
        (
            r#"{"route":{"receiver":"a"},"receivers":[{"name":"a","webhook_configs":[{"url":"http://x","http_config":{"bearer_token":"t","basic_auth":{}}}]}]}"#,
            "receivers[0].webhook_configs[0].http_config.authorization",
            "at most one of",
        ),
        (r#"{"global":{"resolve_timeout":"0s"}}"#, "global.resolve_timeout", "longer than zero"),
    ] {
        let found = problems(json);
        assert!(
            found.iter().any(|(p, m)| *p == format!("alertmanager.{path}") && m.contains(message)),
            "{json}: {found:?}"
        );
    }
}

#[test]
fn unknown_keys_and_bad_matchers_are_refused() {
    for (json, want) in [
        (r#"{"routes":{}}"#, "unknown field"),
        (r#"{"route":{"recever":"a"}}"#, "unknown field"),
        (r#"{"route":{"matchers":["a"]}}"#, "bad matcher format: a"),
        (r#"{"receivers":[{"name":"a","smoke_signals":[]}]}"#, "unknown field"),
    ] {
        let e = serde_json::from_str::<AlertmanagerConfig>(json).unwrap_err().to_string();
        assert!(e.contains(want), "{json}: {e}");
    }
}

#[test]
fn secrets_are_masked_when_shown() {
    let json = r#"{"global":{"smtp_auth_password":"hush"},"receivers":[{"name":"a","webhook_configs":[{"url":"http://u:hush@h/hush","http_config":{"basic_auth":{"username":"u","password":"hush"}}}]}]}"#;
    let config: AlertmanagerConfig = serde_json::from_str(json).unwrap();
    let shown = serde_json::to_string(&config).unwrap();
    assert!(!shown.contains("hush") && !format!("{config:?}").contains("hush"), "{shown}");
}
