{{- /* Combinations that work and are risky, a line each, for NOTES. */}}

{{- define "voicefleet.warnings" -}}
{{- include "voicefleet.warnings.image" . }}
{{- include "voicefleet.warnings.size" . }}
{{- include "voicefleet.warnings.drain" . }}
{{- include "voicefleet.warnings.scale" . }}
{{- end }}

{{- define "voicefleet.warnings.image" -}}
{{- if not .Values.image.digest }}
! image.digest is not set: if the tag {{ include "voicefleet.tag" . }} is moved, two pods of the fleet run different code.
{{- end }}
{{- if .Values.secrets.values }}
! secrets.values: Helm keeps these keys in its release, and your shell in its history. Use secrets.existingSecret for more than a trial.
{{- end }}
{{- if not .Values.networkPolicy.enabled }}
! networkPolicy.enabled is false: an agent that is talked into it may reach everything that the pod's network reaches, the cloud's metadata service too.
{{- end }}
{{- if and (hasSuffix ":4317" .Values.telemetry.endpoint) (ne (get .Values.settings "OTEL_EXPORTER_OTLP_PROTOCOL" | toString) "grpc") }}
! telemetry.endpoint has port 4317, which is gRPC's, and the worker speaks HTTP: take 4318, or set settings.OTEL_EXPORTER_OTLP_PROTOCOL=grpc.
{{- end }}
{{- if not (include "voicefleet.agentName" .) }}
! agent.name is not set, and the chart cannot know the name in {{ .Values.agent.file }}: `helm test` places no call. If the file has no name either, LiveKit gives it every new room of the project.
{{- end }}
{{- if and (eq .Values.agent.file "front_desk") (not (get .Values.settings "VOICEFLEET_CALENDAR_FILE")) }}
! front_desk keeps appointments in a file of each pod: two pods give the same hour to two callers, and a pod that goes takes its own along. Set settings.VOICEFLEET_CALENDAR_FILE to a file on a volume that all pods share, or put your own calendar in its place.
{{- end }}
{{- end }}

{{- define "voicefleet.warnings.size" -}}
{{- $slots := int64 .Values.slots }}
{{- $most := div (mul 7 (include "voicefleet.millicores" .Values.resources.requests.cpu | int64)) 1000 }}
{{- if gt $slots $most }}
! {{ $slots }} slots on {{ .Values.resources.requests.cpu }} CPU is more than the 7 for each CPU that LiveKit publishes at best: measure, or answers come late.
{{- end }}
{{- if ne (toString .Values.resources.limits.cpu) "" }}
! resources.limits.cpu: a pod that reaches it is stopped for up to 100 ms at a time, and callers hear it.
{{- end }}
{{- $request := include "voicefleet.bytes" .Values.resources.requests.memory }}
{{- if ne $request (include "voicefleet.bytes" .Values.resources.limits.memory) }}
! resources.requests.memory is below the limit: a node that runs out of memory may end the pod, and its calls, although it kept its limit.
{{- end }}
{{- end }}

{{- define "voicefleet.warnings.drain" -}}
{{- $longest := get .Values.settings "VOICEFLEET_CALL_LONGEST_SECONDS" | default 0 | float64 }}
{{- $timeout := int64 .Values.drain.timeoutSeconds }}
{{- if gt $longest (float64 $timeout) }}
! VOICEFLEET_CALL_LONGEST_SECONDS is {{ $longest }}, and a drain waits for {{ $timeout }} s: a deploy ends calls that are older, with a farewell.
{{- end }}
{{- if and (eq .Values.eviction.safe "Always") (gt $timeout 600) }}
! eviction.safe=Always with a drain of {{ $timeout }} s: the cluster autoscaler shortens the grace period to 600 s, and ends calls then. Use OnUpgrade, or its --max-graceful-termination-sec.
{{- end }}
{{- if and (gt $timeout 3600) (ne .Values.eviction.safe "Always") }}
! A drain of {{ $timeout }} s: some managed clusters (GKE) wait an hour for a pod at a node's upgrade, then end it.
{{- end }}
{{- $wait := get .Values.settings "VOICEFLEET_LIVEKIT_WAIT_SECONDS" | default 120 | float64 }}
{{- $startup := mulf .Values.probes.startup.periodSeconds .Values.probes.startup.failureThreshold }}
{{- if gt $wait $startup }}
! probes.startup gives up after {{ $startup }} s, and a start waits for LiveKit up to {{ $wait }} s: a pod is started again before it can say what is wrong.
{{- end }}
{{- if eq .Values.eviction.safe "Never" }}
! eviction.safe=Never: `kubectl drain` waits until you delete the pods yourself.
{{- else if not .Values.podDisruptionBudget.enabled }}
! podDisruptionBudget.enabled is false: a node upgrade may drain all pods at once.
{{- end }}
{{- end }}

{{- define "voicefleet.warnings.scale" -}}
{{- with .Values.scale }}
{{- if lt (int64 .min) 2 }}
! scale.min is 1: when that pod or its node dies, nobody answers until the next one is ready.
{{- end }}
{{- if and .bufferSlots (lt (int64 .bufferSlots) (int64 $.Values.slots)) }}
! scale.bufferSlots is {{ .bufferSlots }}, less than the {{ int64 $.Values.slots }} slots of a pod: when a pod dies, not all of its callers find a slot again.
{{- end }}
{{- if ne .by "none" }}
{{- if not $.Values.monitoring.rules.enabled }}
! scale.by={{ .by }} needs the series {{ include "voicefleet.scale.series" $ }}, and monitoring.rules.enabled is false: give Prometheus those rules, or the fleet stays at its size.
{{- end }}
{{- if not $.Values.monitoring.podMonitor.enabled }}
! scale.by={{ .by }} needs Prometheus to scrape the pods, and monitoring.podMonitor.enabled is false: see ops/autoscaling/scrape.yaml.
{{- end }}
{{- if not (int64 .cpuPercent) }}
! scale.cpuPercent is 0: calls that are heavier than planned order no pods.
{{- end }}
{{- end }}
{{- end }}
{{- end }}
