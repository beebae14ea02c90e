//! The command line around alerts: `campanile silence`, `campanile routes`, and the distribution's amtool against the server.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::harness::{CAMPANILE, Server};

struct Output {
    code: Option<i32>,
    out: String,
    err: String,
}

fn run(program: &str, args: &[&str], input: &str) -> Output {
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{program}: {e}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    Output { code: out.status.code(), out: text(&out.stdout), err: text(&out.stderr) }
}

/// Runs `campanile ... --server URL` away from the runtime's threads.
async fn campanile(server: &Server, args: &[&str], input: &str) -> Output {
    let url = server.url("");
    let args: Vec<String> = args.iter().map(|a| (*a).to_owned()).chain(["--server".to_owned(), url]).collect();
    let input = input.to_owned();
    tokio::task::spawn_blocking(move || run(CAMPANILE, &args.iter().map(String::as_str).collect::<Vec<_>>(), &input))
        .await
        .unwrap()
}

#[tokio::test]
async fn silences_from_the_command_line() {
    let server = Server::start("self_scrape: false\nhost: {enabled: false}\n").await;
    let add = ["silence", "add", "Down", "instance=~db.*", "x!=y", "-a", "ann", "-c", "disk swap", "-d", "2h"];
    let made = campanile(&server, &add, "").await;
    assert_eq!((made.code, made.err.as_str()), (Some(0), ""));
    let id = made.out.trim().to_owned();
    let shown = server.get(&format!("/alertmanager/api/v2/silence/{id}"), &[]).await;
    assert_eq!((&shown["createdBy"], &shown["comment"]), (&json!("ann"), &json!("disk swap")));
    assert_eq!(
        shown["matchers"],
        json!([
            {"name": "alertname", "value": "Down", "isRegex": false, "isEqual": true},
            {"name": "instance", "value": "db.*", "isRegex": true, "isEqual": true},
            {"name": "x", "value": "y", "isRegex": false, "isEqual": false},
        ])
    );
    let table = campanile(&server, &["silence", "query"], "").await.out;
    let lines: Vec<&str> = table.lines().collect();
    assert!(lines[0].starts_with("ID ") && lines[0].ends_with("Comment"), "{table}");
    assert!(lines[1].starts_with(&id) && lines[1].contains(r#"alertname="Down" instance=~"db.*" x!="y""#), "{table}");
    for (args, found) in [
        (vec!["silence", "query", "-q", "Down"], true),
        (vec!["silence", "query", "-q", "Up"], false),
        (vec!["silence", "query", "-q", "--created-by", "bob"], false),
        (vec!["silence", "query", "-q", "--within", "3h"], true),
        (vec!["silence", "query", "-q", "--within", "1h"], false),
        (vec!["silence", "query", "-q", "--expired"], false),
    ] {
        let out = campanile(&server, &args, "").await.out;
        assert_eq!(out.trim() == id, found, "{args:?}: {out}");
    }
    let exported = campanile(&server, &["silence", "query", "-o", "json"], "").await.out;
    let bad = campanile(&server, &["silence", "expire", &id, "11111111-2222-3333-4444-555555555555"], "").await;
    assert_eq!(bad.code, Some(1));
    assert!(bad.err.contains("404") && bad.err.contains("11111111"), "{}", bad.err);
    let expired = campanile(&server, &["silence", "query", "--expired", "-q"], "").await.out;
    assert_eq!(expired.trim(), id, "the good one of the two was ended");
    // What was exported comes back as a new one.
    let imported = campanile(&server, &["silence", "import", "--force"], &exported).await;
    assert_eq!(imported.code, Some(0), "{}", imported.err);
    let new = imported.out.trim().to_owned();
    assert!(new != id && new.len() == 36, "{new}");
    for (args, what) in [
        (vec!["silence", "add", "a=~(", "-c", "x"], "bad matcher"),
        (vec!["silence", "add", "a=b", "-c", "x", "--end", "2020-01-01T00:00:00Z"], "before it begins"),
        (vec!["silence", "add", "a=b", "-c", "x", "--start", "soon"], "is no time like"),
        (vec!["silence", "add", "a=~.*", "-c", "x"], "must not match the empty string"),
    ] {
        let out = campanile(&server, &args, "").await;
        assert!(out.code == Some(1) && out.err.contains(what), "{args:?}: {:?} {}", out.code, out.err);
    }
}

/// A tree with nesting, continue, both forms of matchers.
const ROUTES: &str = r#"
route:
  receiver: team-X
  group_by: [alertname]
  routes:
  - matchers: ['service=~"foo1|foo2"', 'a="b"']
    receiver: mails
    routes:
    - match: {severity: critical}
      receiver: pager
      continue: true
    - match_re: {severity: "crit.*"}
  - matchers: ['team="db"']
    continue: true
    receiver: db
  - matchers: ['team="db"', x!="y"]
    receiver: db2
receivers: [{name: team-X}, {name: mails}, {name: pager}, {name: db}, {name: db2}]
"#;

#[tokio::test]
async fn routes_of_a_file_and_of_a_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alertmanager.yml");
    std::fs::write(&file, ROUTES).unwrap();
    let own = format!("alertmanager_file: {}\nself_scrape: false\nhost: {{enabled: false}}\n", file.display());
    let server = Server::start(&own).await;
    let shown = campanile(&server, &["routes", "show"], "").await;
    assert!(shown.out.contains(r#"├── {severity="critical"}  continue: true  receiver: pager"#), "{}", shown.out);
    for source in [file.display().to_string(), server.config_path().display().to_string()] {
        let out = campanile(&server, &["routes", "show", "--config.file", &source], "").await;
        assert_eq!(out.out, shown.out, "{source}: {}", out.err);
    }
    let test = async |more: &[&str]| {
        let args: Vec<&str> = ["routes", "test"].iter().chain(more).copied().collect();
        let out = campanile(&server, &args, "").await;
        (out.code, out.out)
    };
    assert_eq!(test(&["service=foo1", "a=b", "severity=critical"]).await, (Some(0), "pager,mails\n".to_owned()));
    assert_eq!(test(&["--verify.receivers=db,db2", "team=db"]).await.0, Some(0));
    assert_eq!(test(&["--verify.receivers=db", "team=db"]).await.0, Some(1));
    assert_eq!(test(&["nonsense"]).await.0, Some(1));
}

#[tokio::test]
#[ignore = "needs amtool (prometheus-alertmanager)"]
async fn routes_are_printed_as_amtool_prints_them() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alertmanager.yml");
    std::fs::write(&file, ROUTES).unwrap();
    let config = format!("--config.file={}", file.display());
    let both = |args: &[&str]| {
        let own: Vec<&str> = ["routes"].iter().chain(args).copied().chain([config.as_str()]).collect();
        let theirs: Vec<&str> = ["config", "routes"].iter().chain(args).copied().chain([config.as_str()]).collect();
        let (own, theirs) = (run(CAMPANILE, &own, ""), run("amtool", &theirs, ""));
        assert_eq!((own.code, &own.out), (theirs.code, &theirs.out), "{args:?}: {} {}", own.err, theirs.err);
    };
    both(&["show"]);
    for labels in
        [vec!["service=foo1", "a=b", "severity=critical"], vec!["team=db"], vec!["team=db", "x=y"], vec!["q=r"]]
    {
        both(&[&["test"][..], labels.as_slice()].concat());
        both(&[&["test", "--tree"][..], labels.as_slice()].concat());
    }
    both(&["test", "--verify.receivers=db,db2", "team=db"]);
    both(&["test", "--verify.receivers=db", "team=db"]);
}

/// The distribution's amtool, as it is used every day.
#[tokio::test]
#[ignore = "needs amtool (prometheus-alertmanager)"]
async fn amtool_works_against_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("alertmanager.yml");
    std::fs::write(&file, ROUTES).unwrap();
    let own = format!("alertmanager_file: {}\nself_scrape: false\nhost: {{enabled: false}}\n", file.display());
    let server = Server::start(&own).await;
    let url = format!("--alertmanager.url={}", server.url("/alertmanager"));
    let amtool = async |args: &[&str]| {
        let mut args: Vec<String> = args.iter().map(|a| (*a).to_owned()).collect();
        args.push(url.clone());
        let out = tokio::task::spawn_blocking(move || {
            run("amtool", &args.iter().map(String::as_str).collect::<Vec<_>>(), "")
        });
        out.await.unwrap()
    };
    let good = |o: Output| {
        assert_eq!(o.code, Some(0), "{} {}", o.out, o.err);
        o.out
    };
    good(amtool(&["alert", "add", "Down", "team=db", "instance=db1", "--annotation=summary=gone"]).await);
    good(amtool(&["alert", "add", "Slow", "team=web"]).await);
    let shown: Value = serde_json::from_str(&good(amtool(&["alert", "query", "-o", "json", "team=db"]).await)).unwrap();
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["labels"]["alertname"]), (1, &json!("Down")), "{shown}");
    assert_eq!(shown[0]["annotations"]["summary"], "gone");
    assert!(good(amtool(&["alert"]).await).contains("Slow"));
    let id = good(amtool(&["silence", "add", "Down", "instance=~db.*", "--comment=swap", "--author=ann"]).await);
    let id = id.trim();
    assert!(good(amtool(&["silence", "query"]).await).contains(id));
    assert!(!good(amtool(&["alert", "query"]).await).contains("Down"), "silenced alerts are not shown");
    assert!(good(amtool(&["alert", "query", "--silenced"]).await).contains("Down"));
    let export = good(amtool(&["silence", "query", "-o", "json"]).await);
    good(amtool(&["silence", "update", "--duration=3h", "--comment=longer", id]).await);
    good(amtool(&["silence", "expire", id]).await);
    assert!(good(amtool(&["silence", "query", "--expired", "-q"]).await).contains(id));
    let path = dir.path().join("silences.json");
    std::fs::write(&path, export).unwrap();
    good(amtool(&["silence", "import", "--force", &path.display().to_string()]).await);
    assert_eq!(good(amtool(&["silence", "query", "-q"]).await).lines().count(), 1);
    assert!(good(amtool(&["config", "show"]).await).contains("team-X"));
    assert!(good(amtool(&["config", "routes", "show"]).await).contains(r#"{team="db"}"#));
    assert_eq!(good(amtool(&["config", "routes", "test", "team=db"]).await).trim(), "db,db2");
    assert!(good(amtool(&["cluster", "show"]).await).contains("disabled"));
    check_config(&file);
}

/// amtool and campanile agree on what is a good file.
fn check_config(good: &Path) {
    let path = good.display().to_string();
    assert_eq!(run("amtool", &["check-config", &path], "").code, Some(0));
    let whole = good.with_file_name("campanile.yml");
    std::fs::write(&whole, format!("alertmanager_file: {path}\n")).unwrap();
    let own = run(CAMPANILE, &["check", "config", &whole.display().to_string()], "");
    assert_eq!(own.code, Some(0), "{}", own.err);
    let bad = good.with_file_name("bad.yml");
    std::fs::write(&bad, ROUTES.replace("receiver: db2", "receiver: nobody")).unwrap();
    assert_eq!(run("amtool", &["check-config", &bad.display().to_string()], "").code, Some(1));
    std::fs::write(&whole, format!("alertmanager_file: {}\n", bad.display())).unwrap();
    let own = run(CAMPANILE, &["check", "config", &whole.display().to_string()], "");
    assert!(own.code == Some(1) && own.err.contains("bad.yml:"), "{}", own.err);
}

/// Files as people have them for Alertmanager.
#[test]
fn files_of_alertmanager_load_as_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("campanile.yml");
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good_config");
    let mut checked = 0;
    for file in std::fs::read_dir(files).unwrap().map(|f| f.unwrap().path()) {
        std::fs::write(&whole, format!("alertmanager_file: {}\n", file.display())).unwrap();
        let out = run(CAMPANILE, &["check", "config", &whole.display().to_string()], "");
        assert_eq!(out.code, Some(0), "{}: {} {}", file.display(), out.out, out.err);
        let traces = std::fs::read_to_string(&file).unwrap().contains("\ntracing:");
        let said = out.err.contains("tracing: has no effect") || out.out.contains("tracing: has no effect");
        assert_eq!(traces, said, "{}: {} {}", file.display(), out.out, out.err);
        checked += 1;
    }
    assert_eq!(checked, 2);
}

#[test]
fn a_bad_template_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let am = dir.path().join("am.yml");
    let text = "route: {receiver: r}\nreceivers:\n  - name: r\n    webhook_configs:\n      - url: 'http://x/{{ .Nope'\n    email_configs:\n      - to: a@b.example\n        from: c@d.example\n        smarthost: 'x:25'\n        headers:\n          Subject: '{{ nope }}'\n";
    std::fs::write(&am, text).unwrap();
    let whole = dir.path().join("campanile.yml");
    let check = |text: String| {
        std::fs::write(&whole, text).unwrap();
        run(CAMPANILE, &["check", "config", &whole.display().to_string()], "")
    };
    let out = check(format!("alertmanager_file: {}\n", am.display()));
    assert_eq!(out.code, Some(1), "{}", out.err);
    for place in [
        "am.yml:5:14: receivers[0].webhook_configs[0].url: ",
        "am.yml:11:20: receivers[0].email_configs[0].headers.Subject: ",
    ] {
        assert!(out.err.contains(place), "{place}: {}", out.err);
    }
    assert!(out.err.contains("function \"nope\" not defined"), "{}", out.err);
    let indented: String = text.lines().map(|l| format!("  {l}\n")).collect();
    let out = check(format!("alertmanager:\n{indented}"));
    let place = "campanile.yml:6:16: alertmanager.receivers[0].webhook_configs[0].url: ";
    assert!(out.code == Some(1) && out.err.contains(place), "{}", out.err);
    // A file of templates names itself.
    std::fs::write(dir.path().join("t.tmpl"), "{{ define \"x\" }}\n{{ if }}{{ end }}").unwrap();
    std::fs::write(&am, "route: {receiver: r}\nreceivers: [{name: r}]\ntemplates: [t.tmpl]\n").unwrap();
    let out = check(format!("alertmanager_file: {}\n", am.display()));
    assert!(out.code == Some(1) && out.err.contains("am.yml:3:") && out.err.contains("t.tmpl"), "{}", out.err);
}
