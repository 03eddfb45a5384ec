{{- /* What things are called. */}}

{{- define "voicefleet.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- /* At most 50 characters: a pod's name adds 17, and a label takes 63 (KEDA adds `keda-hpa-`). */}}
{{- define "voicefleet.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains (include "voicefleet.name" .) .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "voicefleet.name" .) | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* What all pods of a release have in common, the caller of `helm test` included. */}}
{{- define "voicefleet.releaseLabels" -}}
app.kubernetes.io/name: {{ include "voicefleet.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- /* The pods that take calls. Never a version in here: the selector cannot change. */}}
{{- define "voicefleet.selectorLabels" -}}
{{ include "voicefleet.releaseLabels" . }}
app.kubernetes.io/component: worker
{{- end }}

{{- /* Labels and annotations of every object, not of pods: a change of them drains nobody. */}}
{{- define "voicefleet.objectLabels" -}}
{{ include "voicefleet.releaseLabels" . }}
app.kubernetes.io/part-of: voicefleet
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "voicefleet.objectMeta" -}}
labels:
  {{- include "voicefleet.objectLabels" . | nindent 2 }}
{{- with .Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "voicefleet.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "voicefleet.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "voicefleet.tag" -}}
{{- default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{- define "voicefleet.image" -}}
{{- with .Values.image }}
{{- .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ include "voicefleet.tag" $ }}{{ end }}
{{- end }}
{{- end }}

{{- define "voicefleet.testImage" -}}
{{- with .Values.test.image }}
{{- default $.Values.image.repository .repository -}}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ default (printf "%s-demo" (include "voicefleet.tag" $)) .tag }}{{ end }}
{{- end }}
{{- end }}

{{- /* The Secret that the pod reads: yours, or the one that is made. */}}
{{- define "voicefleet.secretName" -}}
{{- default (include "voicefleet.fullname" .) .Values.secrets.existingSecret }}
{{- end }}

{{- /* The name that callers dispatch by, as far as the chart can know it: it is given, or the agent
ships with voicefleet and speaks (worker/voicefleet/agents/). */}}
{{- define "voicefleet.agentName" -}}
{{- if .Values.agent.name }}
{{- .Values.agent.name }}
{{- else if has .Values.agent.file (list "assistant" "drive_thru" "front_desk" "interview" "phone" "realtime" "tools" "triage" "vision") }}
{{- .Values.agent.file }}
{{- end }}
{{- end }}
