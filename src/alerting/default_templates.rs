//! The built-in templates, under the names that Alertmanager's users know. Texts and layout are our own.

/// All of them. `__subject`, `__alertmanagerURL` and `__text_alert_list` give what Alertmanager's give, because own templates of
/// users build on them.
pub const DEFAULT: &str = r##"
{{ define "__alertmanager" }}Alertmanager{{ end }}
{{ define "__alertmanagerURL" }}{{ .ExternalURL }}/#/alerts?receiver={{ .Receiver | urlquery }}{{ end }}
{{ define "__subject" }}[{{ .Status | toUpper }}{{ if eq .Status "firing" }}:{{ len .Alerts.Firing }}{{ end }}] {{ join " " .GroupLabels.SortedPairs.Values }}{{ $more := .CommonLabels.Remove .GroupLabels.Names }}{{ if $more }} ({{ join " " $more.Values }}){{ end }}{{ end }}
{{ define "__description" }}{{ end }}
{{ define "__text_alert_list" }}{{ range . }}Labels:
{{ range .Labels.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Annotations:
{{ range .Annotations.SortedPairs }} - {{ .Name }} = {{ .Value }}
{{ end }}Source: {{ .GeneratorURL }}
{{ end }}{{ end }}
{{ define "email.default.subject" }}{{ template "__subject" . }}{{ end }}
{{ define "email.default.text" }}{{ $firing := .Alerts.Firing }}{{ $over := .Alerts.Resolved }}{{ if $firing }}Firing now: {{ len $firing }}
{{ range $firing }}{{ template "campanile.text.alert" . }}{{ end }}{{ end }}{{ if $over }}Over: {{ len $over }}
{{ range $over }}{{ template "campanile.text.alert" . }}{{ end }}{{ end }}Sent by campanile, {{ .ExternalURL }}
{{ end }}
{{ define "campanile.text.alert" }}
* {{ with .Labels.alertname }}{{ . }}{{ else }}Alert{{ end }}{{ with .Annotations.summary }}: {{ . }}{{ end }}
{{ with .Annotations.description }}  {{ . }}
{{ end }}  since {{ .StartsAt.UTC.Format "2006-01-02 15:04:05 MST" }}{{ if eq .Status "resolved" }}, until {{ .EndsAt.UTC.Format "2006-01-02 15:04:05 MST" }}{{ end }}
{{ range .Labels.SortedPairs }}{{ if ne .Name "alertname" }}  {{ .Name }} = {{ .Value }}
{{ end }}{{ end }}{{ range .Annotations.SortedPairs }}{{ if and (ne .Name "summary") (ne .Name "description") }}  {{ .Name }}: {{ .Value }}
{{ end }}{{ end }}{{ with .GeneratorURL }}  {{ . }}
{{ end }}
{{ end }}
{{ define "email.default.html" }}<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ template "__subject" . }}</title>
</head>
<body style="margin:0;padding:0;background:#eef1f4;font-family:Helvetica,Arial,sans-serif;color:#1d2733;">
<table role="presentation" width="100%" cellpadding="0" cellspacing="0" style="background:#eef1f4;"><tr><td align="center" style="padding:20px 8px;">
<table role="presentation" width="640" cellpadding="0" cellspacing="0" style="max-width:640px;width:100%;background:#ffffff;border:1px solid #d5dbe1;">
<tr><td style="padding:16px 20px;color:#ffffff;font-size:18px;{{ if eq .Status "firing" }}background:#a32a2a;{{ else }}background:#2b7148;{{ end }}">
<strong>{{ if eq .Status "firing" }}{{ len .Alerts.Firing }} firing{{ else }}All clear{{ end }}</strong>{{ if .Alerts.Resolved }} &middot; {{ len .Alerts.Resolved }} over{{ end }}
{{ range .GroupLabels.SortedPairs }}<div style="font-size:13px;padding-top:4px;">{{ .Name }}: {{ .Value }}</div>
{{ end }}</td></tr>
{{ if .Alerts.Firing }}<tr><td style="padding:14px 20px 0 20px;font-size:15px;color:#a32a2a;"><strong>Firing</strong></td></tr>
{{ range .Alerts.Firing }}{{ template "campanile.html.alert" . }}{{ end }}{{ end }}{{ if .Alerts.Resolved }}<tr><td style="padding:14px 20px 0 20px;font-size:15px;color:#2b7148;"><strong>Over</strong></td></tr>
{{ range .Alerts.Resolved }}{{ template "campanile.html.alert" . }}{{ end }}{{ end }}<tr><td style="padding:16px 20px;font-size:12px;color:#66717d;border-top:1px solid #d5dbe1;">Sent by <a href="{{ .ExternalURL }}" style="color:#66717d;">campanile</a></td></tr>
</table>
</td></tr></table>
</body>
</html>
{{ end }}
{{ define "campanile.html.alert" }}<tr><td style="padding:10px 20px;">
<div style="font-size:15px;"><strong>{{ with .Labels.alertname }}{{ . }}{{ else }}Alert{{ end }}</strong></div>
{{ with .Annotations.summary }}<div style="font-size:14px;padding-top:2px;">{{ . }}</div>
{{ end }}{{ with .Annotations.description }}<div style="font-size:13px;padding-top:2px;color:#3d4a57;">{{ . }}</div>
{{ end }}<div style="font-size:12px;padding-top:4px;color:#66717d;">since {{ .StartsAt.UTC.Format "2006-01-02 15:04:05 MST" }}{{ if eq .Status "resolved" }}, until {{ .EndsAt.UTC.Format "2006-01-02 15:04:05 MST" }}{{ end }}</div>
<table role="presentation" cellpadding="0" cellspacing="0" style="font-size:12px;margin-top:4px;">
{{ range .Labels.SortedPairs }}{{ if ne .Name "alertname" }}<tr><td style="padding:1px 12px 1px 0;color:#66717d;">{{ .Name }}</td><td style="padding:1px 0;">{{ .Value }}</td></tr>
{{ end }}{{ end }}{{ range .Annotations.SortedPairs }}{{ if and (ne .Name "summary") (ne .Name "description") }}<tr><td style="padding:1px 12px 1px 0;color:#66717d;">{{ .Name }}</td><td style="padding:1px 0;">{{ .Value }}</td></tr>
{{ end }}{{ end }}</table>
{{ with .GeneratorURL }}<div style="font-size:12px;padding-top:4px;"><a href="{{ . }}" style="color:#1f5f99;">where it comes from</a></div>
{{ end }}</td></tr>
{{ end }}
{{ define "slack.default.color" }}{{ if eq .Status "firing" }}danger{{ else }}good{{ end }}{{ end }}
{{ define "slack.default.text" }}{{ end }}
{{ define "slack.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "slack.default.titlelink" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "slack.default.fallback" }}{{ template "slack.default.title" . }} | {{ template "slack.default.titlelink" . }}{{ end }}
{{ define "slack.default.username" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "slack.default.callbackid" }}{{ end }}
{{ define "slack.default.pretext" }}{{ end }}
{{ define "slack.default.iconemoji" }}{{ end }}
{{ define "slack.default.iconurl" }}{{ end }}
{{ define "slack.default.footer" }}{{ end }}
{{ define "campanile.text.lists" }}{{ if .Alerts.Firing }}
Alerts Firing:
{{ template "__text_alert_list" .Alerts.Firing }}{{ end }}{{ if .Alerts.Resolved }}
Alerts Resolved:
{{ template "__text_alert_list" .Alerts.Resolved }}{{ end }}{{ end }}
{{ define "__text_alert_list_markdown" }}{{ range . }}
Labels:
{{ range .Labels.SortedPairs }}  - {{ .Name }} = {{ .Value }}
{{ end }}
Annotations:
{{ range .Annotations.SortedPairs }}  - {{ .Name }} = {{ .Value }}
{{ end }}
Source: {{ .GeneratorURL }}
{{ end }}{{ end }}
{{ define "campanile.markdown.lists" }}{{ if .Alerts.Firing }}
# Alerts Firing:
{{ template "__text_alert_list_markdown" .Alerts.Firing }}{{ end }}{{ if .Alerts.Resolved }}
# Alerts Resolved:
{{ template "__text_alert_list_markdown" .Alerts.Resolved }}{{ end }}{{ end }}
{{ define "pagerduty.default.description" }}{{ template "__subject" . }}{{ end }}
{{ define "pagerduty.default.client" }}{{ template "__alertmanager" . }}{{ end }}
{{ define "pagerduty.default.clientURL" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "pagerduty.default.instances" }}{{ template "__text_alert_list" . }}{{ end }}
{{ define "opsgenie.default.message" }}{{ template "__subject" . }}{{ end }}
{{ define "opsgenie.default.description" }}{{ join " " .CommonAnnotations.SortedPairs.Values }}
{{ template "campanile.text.lists" . }}{{ end }}
{{ define "opsgenie.default.source" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "pushover.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "pushover.default.message" }}{{ join " " .CommonAnnotations.SortedPairs.Values }}
{{ template "campanile.text.lists" . }}{{ end }}
{{ define "pushover.default.url" }}{{ template "__alertmanagerURL" . }}{{ end }}
{{ define "telegram.default.message" }}{{ template "campanile.text.lists" . }}{{ end }}
{{ define "discord.default.content" }}{{ end }}
{{ define "discord.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "discord.default.message" }}{{ template "campanile.text.lists" . }}{{ end }}
{{ define "msteams.default.summary" }}{{ template "__subject" . }}{{ end }}
{{ define "msteams.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "msteams.default.text" }}{{ template "campanile.markdown.lists" . }}{{ end }}
{{ define "msteamsv2.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "msteamsv2.default.text" }}{{ template "campanile.markdown.lists" . }}{{ end }}
{{ define "ntfy.default.title" }}{{ template "__subject" . }}{{ end }}
{{ define "ntfy.default.message" }}{{ range .Alerts }}{{ if eq .Status "resolved" }}over: {{ end }}{{ with .Labels.alertname }}{{ . }}{{ else }}Alert{{ end }}{{ with .Labels.instance }} on {{ . }}{{ end }}{{ with .Annotations.summary }}: {{ . }}{{ end }}
{{ end }}{{ end }}
{{ define "ntfy.default.click" }}{{ template "__alertmanagerURL" . }}{{ end }}
"##;
