{{- /* The autoscaler's formula: what HorizontalPodAutoscaler, ScaledObject, rules and NOTES share. */}}

{{- /* The recorded series that the autoscaler divides by the slots of a pod; the external metric has
its name, with _ for each colon (ops/autoscaling/prometheus-adapter.yaml). */}}
{{- define "voicefleet.scale.series" -}}
voicefleet:slots_wanted:sum
{{- end }}

{{- define "voicefleet.scale.metric" -}}
voicefleet_slots_wanted
{{- end }}

{{- /* This release among all that one Prometheus watches. */}}
{{- define "voicefleet.selector" -}}
{namespace="{{ .Release.Namespace }}",fleet="{{ .Release.Name }}"}
{{- end }}

{{- /* Never less than one pod: whoever talked on a pod that died dials again. */}}
{{- define "voicefleet.bufferSlots" -}}
{{- default (int64 .Values.slots) (int64 .Values.scale.bufferSlots) }}
{{- end }}

{{- /* Whether the autoscaler may be told to act at the first missing slot: the API server knows
`tolerance` by default since 1.35 (KEP-4951). */}}
{{- define "voicefleet.scale.hasTolerance" -}}
{{- if semverCompare ">=1.35-0" .Capabilities.KubeVersion.Version }}true{{ end }}
{{- end }}

{{- define "voicefleet.scale.useRatio" -}}
{{- divf .Values.scale.usePercent 100 }}
{{- end }}

{{- /* Both autoscalers speak autoscaling/v2 here. */}}
{{- define "voicefleet.scale.behavior" -}}
{{- with .Values.scale }}
scaleUp:
  # A caller does not wait for a second opinion.
  stabilizationWindowSeconds: 0
  {{- if include "voicefleet.scale.hasTolerance" $ }}
  # Kubernetes' own 10 % would eat the buffer of a large fleet before anything happens.
  tolerance: "0"
  {{- end }}
  selectPolicy: Max
  policies:
    # values: scale.up
    - type: Percent
      value: {{ int64 .up.percent }}
      periodSeconds: {{ int64 .up.periodSeconds }}
    - type: Pods
      value: {{ int64 .up.pods }}
      periodSeconds: {{ int64 .up.periodSeconds }}
scaleDown:
  # values: scale.down. Each pod that goes drains its calls, so fewer go, and later.
  stabilizationWindowSeconds: {{ int64 .down.windowSeconds }}
  selectPolicy: Max
  policies:
    - type: Percent
      value: {{ int64 .down.percent }}
      periodSeconds: {{ int64 .down.periodSeconds }}
    - type: Pods
      value: {{ int64 .down.pods }}
      periodSeconds: {{ int64 .down.periodSeconds }}
{{- end }}
{{- end }}

{{- /* The formula as recording rules: one for each reason, and the largest. */}}
{{- define "voicefleet.wantedRules" -}}
{{- $fleet := include "voicefleet.selector" . }}
{{- $calls := printf "voicefleet:calls:sum%s" $fleet }}
{{- $pod := int64 .Values.slots }}
{{- $slack := "" }}
{{- if not (include "voicefleet.scale.hasTolerance" .) }}
{{- $slack = printf " + (0.1 * voicefleet:slots_ready:sum%s or 0 * %s)" $fleet $calls }}
{{- end -}}
# values: scale.usePercent
- record: voicefleet:slots_wanted_by:sum
  labels: {reason: use}
  expr: {{ $calls }} / {{ include "voicefleet.scale.useRatio" . }}
# values: scale.bufferSlots
{{- if $slack }}
# and the tenth of the slots within which this Kubernetes' autoscaler does nothing.
{{- end }}
- record: voicefleet:slots_wanted_by:sum
  labels: {reason: buffer}
  expr: {{ $calls }} + {{ include "voicefleet.bufferSlots" . }}{{ $slack }}
# Growth of the last minute, values: scale.leadSeconds ahead, and one pod.
- record: voicefleet:slots_wanted_by:sum
  labels: {reason: growth}
  expr: {{ $calls }} + clamp_min(deriv({{ $calls }}[1m]), 0) * {{ int64 .Values.scale.leadSeconds }} + {{ $pod }}
- record: {{ include "voicefleet.scale.series" . }}
  expr: max by (namespace, fleet) (voicefleet:slots_wanted_by:sum{{ $fleet }})
{{- end }}
