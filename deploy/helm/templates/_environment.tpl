{{- /* The worker's environment. tests/deploy holds its names against worker/voicefleet/settings/. */}}

{{- /* Settings that are secret, in the Secret under these names; a fleet needs the first two. */}}
{{- define "voicefleet.secretSettings" -}}
LIVEKIT_API_KEY LIVEKIT_API_SECRET DEEPGRAM_API_KEY OPENAI_API_KEY CARTESIA_API_KEY VOICEFLEET_LLM_API_KEY VOICEFLEET_DRAIN_TOKEN VOICEFLEET_REPORT_TOKEN VOICEFLEET_MCP_TOKEN OTEL_EXPORTER_OTLP_HEADERS
{{- end }}

{{- define "voicefleet.requiredSecrets" -}}
LIVEKIT_API_KEY LIVEKIT_API_SECRET
{{- end }}

{{- /* Settings that the chart derives, and where they are set: name, space, key of the values. */}}
{{- define "voicefleet.ownSettings" -}}
LIVEKIT_URL: livekit.url
VOICEFLEET_AGENT: agent.file
VOICEFLEET_AGENT_NAME: agent.name
VOICEFLEET_SLOTS: slots
VOICEFLEET_VIDEO: slots
VOICEFLEET_CPU_REQUEST_MILLICORES: resources.requests.cpu
VOICEFLEET_DRAIN_TIMEOUT_SECONDS: drain.timeoutSeconds
VOICEFLEET_SESSION_END_TIMEOUT_SECONDS: drain.hooksSeconds
VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS: drain.shutdownSeconds
VOICEFLEET_GRACE_PERIOD_SECONDS: drain.gracePeriodSeconds
VOICEFLEET_MEMORY_LIMIT_BYTES: resources.limits.memory
VOICEFLEET_CALL_MEMORY_LIMIT_BYTES: memory and resources.limits.memory
VOICEFLEET_CALL_MEMORY_WARN_BYTES: memory.warnPercent
VOICEFLEET_HTTP_HOST: http.host
VOICEFLEET_HTTP_PORT: http.port
OTEL_EXPORTER_OTLP_ENDPOINT: telemetry.endpoint
OTEL_SERVICE_NAME: fullnameOverride
OTEL_RESOURCE_ATTRIBUTES: telemetry.attributes
NUM_CPUS: resources.requests.cpu
POD_NAME: nothing, it is the pod's
{{- end }}

{{- /* A number as people write it: YAML's 524288000 arrives as 5.24288e+08. */}}
{{- define "voicefleet.text" -}}
{{- if and (kindIs "float64" .) (eq (float64 (int64 .)) .) }}{{ int64 . }}{{ else }}{{ . }}{{ end }}
{{- end }}

{{- /* What is not secret, for the ConfigMap. */}}
{{- define "voicefleet.settings" -}}
LIVEKIT_URL: {{ .Values.livekit.url | quote }}
VOICEFLEET_AGENT: {{ include "voicefleet.agentFile" . | quote }}
{{- with .Values.agent.name }}
VOICEFLEET_AGENT_NAME: {{ . | quote }}
{{- end }}
VOICEFLEET_SLOTS: {{ int64 .Values.slots | quote }}
# Together at most the grace period: {{ include "voicefleet.drainSum" . }}.
VOICEFLEET_DRAIN_TIMEOUT_SECONDS: {{ int64 .Values.drain.timeoutSeconds | quote }}
VOICEFLEET_SESSION_END_TIMEOUT_SECONDS: {{ int64 .Values.drain.hooksSeconds | quote }}
{{- with int64 .Values.drain.shutdownSeconds }}
VOICEFLEET_SHUTDOWN_TIMEOUT_SECONDS: {{ . | quote }}
{{- end }}
VOICEFLEET_GRACE_PERIOD_SECONDS: {{ include "voicefleet.gracePeriodSeconds" . | quote }}
# ({{ .Values.resources.limits.memory }} × {{ .Values.memory.plannedPercent }} % - {{ .Values.memory.podMiB }} MiB) / {{ int64 .Values.slots }} slots, and {{ .Values.memory.warnPercent }} % of it.
VOICEFLEET_CALL_MEMORY_LIMIT_BYTES: {{ include "voicefleet.callBytes" . | quote }}
VOICEFLEET_CALL_MEMORY_WARN_BYTES: {{ include "voicefleet.callWarnBytes" . | quote }}
VOICEFLEET_HTTP_HOST: {{ .Values.http.host | quote }}
VOICEFLEET_HTTP_PORT: {{ int64 .Values.http.port | quote }}
{{- with .Values.telemetry.endpoint }}
OTEL_EXPORTER_OTLP_ENDPOINT: {{ . | quote }}
OTEL_SERVICE_NAME: {{ include "voicefleet.fullname" $ | quote }}
{{- end }}
{{- range $name, $value := .Values.settings }}
{{ $name }}: {{ include "voicefleet.text" $value | quote }}
{{- end }}
{{- end }}

{{- /* Where the agent file is, as VOICEFLEET_AGENT wants it. */}}
{{- define "voicefleet.agentFile" -}}
{{- if include "voicefleet.agentKeys" . | fromJsonArray }}/agent/{{ end }}{{ .Values.agent.file }}
{{- end }}

{{- define "voicefleet.agentConfigMap" -}}
{{- default (printf "%s-agent" (include "voicefleet.fullname" .)) .Values.agent.configMap.name }}
{{- end }}

{{- /* The files to mount, as a JSON list. */}}
{{- define "voicefleet.agentKeys" -}}
{{- with .Values.agent }}
{{- if .files }}
{{- keys .files | sortAlpha | toJson }}
{{- else if .configMap.name }}
{{- default (list .file) .configMap.keys | toJson }}
{{- else }}
{{- list | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Secret settings for a container: names, of which the first argument is a text. */}}
{{- define "voicefleet.secretEnv" -}}
{{- $required := include "voicefleet.requiredSecrets" .root | splitList " " }}
{{- range $name := splitList " " .names }}
- name: {{ $name }}
  valueFrom:
    secretKeyRef:
      name: {{ include "voicefleet.secretName" $.root }}
      key: {{ get $.root.Values.secrets.keys $name | default $name }}
      {{- if not (has $name $required) }}
      optional: true
      {{- end }}
{{- end }}
{{- end }}

{{- /* What the pod knows of itself. */}}
{{- define "voicefleet.podEnv" -}}
# Load and default slots are measured against what is asked for, not against the node.
- name: VOICEFLEET_CPU_REQUEST_MILLICORES
  valueFrom:
    resourceFieldRef:
      containerName: worker
      resource: requests.cpu
      divisor: 1m
# What the calls' limits are checked against, at the start.
- name: VOICEFLEET_MEMORY_LIMIT_BYTES
  valueFrom:
    resourceFieldRef:
      containerName: worker
      resource: limits.memory
      divisor: "1"
# LiveKit's thread pools: without a CPU limit they would count the node's CPUs.
- name: NUM_CPUS
  valueFrom:
    resourceFieldRef:
      containerName: worker
      resource: requests.cpu
      divisor: "1"
{{- if .Values.telemetry.endpoint }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: OTEL_RESOURCE_ATTRIBUTES
  value: {{ include "voicefleet.attributes" . | quote }}
{{- end }}
{{- end }}

{{- define "voicefleet.attributes" -}}
{{- $all := list (printf "k8s.namespace.name=%s" .Release.Namespace) "k8s.pod.name=$(POD_NAME)" (printf "k8s.deployment.name=%s" (include "voicefleet.fullname" .)) }}
{{- range $name, $value := .Values.telemetry.attributes }}
{{- $all = append $all (printf "%s=%s" $name $value) }}
{{- end }}
{{- join "," $all }}
{{- end }}
