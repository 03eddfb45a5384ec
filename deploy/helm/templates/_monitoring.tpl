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

{{- /* The groups of the rule files that match a pattern, each rule narrowed to this release. */}}
{{- define "voicefleet.groups" -}}
{{- $root := .root }}
{{- range $path, $_ := .root.Files.Glob .pattern }}
{{- range $group := ($root.Files.Get $path | fromYaml).groups }}
{{- range $rule := $group.rules }}
{{- $_ := set $rule "expr" (include "voicefleet.narrowed" (dict "root" $root "expr" $rule.expr)) }}
{{- end }}
{{- if $.interval }}{{ $_ := set $group "interval" (printf "%ds" (int64 $.interval)) }}{{ end }}
{{- list $group | toYaml | nindent 0 }}
{{- end }}
{{- end }}
{{- end }}
