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

{{- /* The groups of the rule files that match a pattern, each rule narrowed to this release. The
formula's rules stand in the group that they read: Prometheus evaluates a group in order, and two
groups up to an interval apart. */}}
{{- define "voicefleet.groups" -}}
{{- $root := .root }}
{{- range $path, $_ := .root.Files.Glob .pattern }}
{{- range $group := ($root.Files.Get $path | fromYaml).groups }}
{{- range $rule := $group.rules }}
{{- $_ := set $rule "expr" (include "voicefleet.narrowed" (dict "root" $root "expr" $rule.expr)) }}
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
