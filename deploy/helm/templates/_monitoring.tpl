{{- /* What the objects for Prometheus share. */}}

{{- define "voicefleet.monitoringMeta" -}}
labels:
  {{- include "voicefleet.objectLabels" . | nindent 2 }}
  {{- with .Values.monitoring.labels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* An expression for all fleets, narrowed to this one: `voicefleet_slots` becomes
`voicefleet_slots{namespace="…",fleet="…"}`, and so for names that have braces already. Two releases
then record and alert each for itself. */}}
{{- define "voicefleet.narrowed" -}}
{{- $selector := include "voicefleet.selector" .root }}
{{- regexReplaceAll "\\bvoicefleet[_:][a-zA-Z0-9_:]+" .expr (printf "${0}%s" $selector) | replace "}{" "," }}
{{- end }}

{{- /* An expression with the numbers that a team sets: one that is followed by `# values: …` is that
value. A histogram's bound is a text in which a whole number has its .0. */}}
{{- define "voicefleet.settled" -}}
{{- $expr := .expr }}
{{- range $group := list "rules" "alerts" }}
{{- range $key, $value := get $.root.Values.monitoring $group }}
{{- $mark := printf "# values: monitoring.%s.%s" $group $key }}
{{- $expr = regexReplaceAll (printf "[0-9.]+ %s\\b" (regexQuoteMeta $mark)) $expr (printf "%v %s" $value $mark) }}
{{- $bound := ternary (toString $value) (printf "%v.0" $value) (contains "." (toString $value)) }}
{{- $expr = regexReplaceAll (printf "\"[0-9.]+\" %s\\b" (regexQuoteMeta $mark)) $expr (printf "\"%s\" %s" $bound $mark) }}
{{- end }}
{{- end }}
{{- $expr }}
{{- end }}

{{- /* The groups of the rule files that match a pattern, each rule narrowed to this release, with its
numbers and the address of its runbook. The formula's rules stand in the group that they read: Prometheus evaluates a group in order, and two
groups up to an interval apart. */}}
{{- define "voicefleet.groups" -}}
{{- $root := .root }}
{{- range $path, $_ := .root.Files.Glob .pattern }}
{{- range $group := ($root.Files.Get $path | fromYaml).groups }}
{{- range $rule := $group.rules }}
{{- $expr := include "voicefleet.settled" (dict "root" $root "expr" $rule.expr) }}
{{- $_ := set $rule "expr" (include "voicefleet.narrowed" (dict "root" $root "expr" $expr)) }}
{{- if $rule.alert }}
{{- $runbook := printf "%s/%s.md" (trimSuffix "/" $root.Values.monitoring.alerts.runbookUrl) $rule.alert }}
{{- $_ := set $rule "annotations" (merge (dict "runbook_url" $runbook) $rule.annotations) }}
{{- end }}
{{- end }}
{{- if $.interval }}{{ $_ := set $group "interval" (printf "%ds" (int64 $.interval)) }}{{ end }}
- {{ omit $group "rules" | toYaml | nindent 2 | trim }}
  rules:
    {{- toYaml $group.rules | nindent 4 }}
    {{- if eq $group.name "voicefleet.capacity" }}
    {{- include "voicefleet.wantedRules" $root | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
