{{- /* Parts of the pods, of the agent and of `helm test`. */}}

{{- define "voicefleet.podSecurity" -}}
# PodSecurity's `restricted`, and a user over 10000 who is nobody on the node.
runAsNonRoot: true
runAsUser: {{ int64 .Values.security.user }}
runAsGroup: {{ int64 .Values.security.user }}
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "voicefleet.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{- /* Settings of pods that both have. */}}
{{- define "voicefleet.podCommons" -}}
serviceAccountName: {{ include "voicefleet.serviceAccountName" . }}
automountServiceAccountToken: false
# A Service named livekit would add LIVEKIT_PORT=tcp://… to the environment.
enableServiceLinks: false
{{- if ne (toString .Values.security.hostUsers) "" }}
hostUsers: {{ .Values.security.hostUsers }}
{{- end }}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- include "voicefleet.podSecurity" . | nindent 2 }}
{{- end }}

{{- /* What the container is asked to have, empty ones left out. */}}
{{- define "voicefleet.resources" -}}
{{- range $kind := list "requests" "limits" }}
{{ $kind }}:
  {{- range $name, $value := get $.Values.resources $kind }}
  {{- if ne (toString $value) "" }}
  {{ $name }}: {{ include "voicefleet.text" $value | quote }}
  {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.probes" -}}
{{- with .Values.probes }}
# The first 2 min may be a wait for LiveKit. A start that hangs has no calls to drain.
startupProbe:
  httpGet: {path: /startupz, port: http}
  periodSeconds: {{ int64 .startup.periodSeconds }}
  failureThreshold: {{ int64 .startup.failureThreshold }}
  timeoutSeconds: {{ int64 .startup.timeoutSeconds }}
  terminationGracePeriodSeconds: {{ int64 .liveness.gracePeriodSeconds }}
# Whoever hangs for a minute cannot drain either: it gets {{ int64 .liveness.gracePeriodSeconds }} s, not the pod's grace period.
livenessProbe:
  httpGet: {path: /livez, port: http}
  periodSeconds: {{ int64 .liveness.periodSeconds }}
  failureThreshold: {{ int64 .liveness.failureThreshold }}
  timeoutSeconds: {{ int64 .liveness.timeoutSeconds }}
  terminationGracePeriodSeconds: {{ int64 .liveness.gracePeriodSeconds }}
# Neither a full pod nor a lost LiveKit makes it unready: unready pods are removed first.
readinessProbe:
  httpGet: {path: /readyz, port: http}
  periodSeconds: {{ int64 .readiness.periodSeconds }}
  failureThreshold: {{ int64 .readiness.failureThreshold }}
  timeoutSeconds: {{ int64 .readiness.timeoutSeconds }}
{{- end }}
{{- end }}

{{- define "voicefleet.volumeMounts" -}}
- name: tmp
  mountPath: /tmp
{{- range include "voicefleet.agentKeys" . | fromJsonArray }}
# By subPath: a changed file reaches new pods only, never a call that begins in an old one.
- name: agent
  mountPath: /agent/{{ . }}
  subPath: {{ . }}
  readOnly: true
{{- end }}
{{- if .Values.secrets.csi.secretProviderClass }}
- name: secrets
  mountPath: /run/secrets/voicefleet
  readOnly: true
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "voicefleet.volumes" -}}
- name: tmp
  emptyDir:
    # values: tmpSize
    sizeLimit: {{ .Values.tmpSize }}
{{- if include "voicefleet.agentKeys" . | fromJsonArray }}
- name: agent
  configMap:
    name: {{ include "voicefleet.agentConfigMap" . }}
{{- end }}
{{- with .Values.secrets.csi.secretProviderClass }}
- name: secrets
  csi:
    driver: secrets-store.csi.k8s.io
    readOnly: true
    volumeAttributes:
      secretProviderClass: {{ . }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "voicefleet.tolerations" -}}
# values: eviction.lostNodeSeconds
{{- range $state := list "not-ready" "unreachable" }}
- key: node.kubernetes.io/{{ $state }}
  operator: Exists
  effect: NoExecute
  tolerationSeconds: {{ int64 $.Values.eviction.lostNodeSeconds }}
{{- end }}
{{- with .Values.tolerations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "voicefleet.spread" -}}
{{- range $key, $when := dict "topology.kubernetes.io/zone" .Values.spread.zones "kubernetes.io/hostname" .Values.spread.nodes }}
{{- if $when }}
- topologyKey: {{ $key }}
  # One pod of difference, counted in each version by itself, so that a rollout spreads, too.
  maxSkew: 1
  matchLabelKeys: [pod-template-hash]
  whenUnsatisfiable: {{ $when }}
  labelSelector:
    matchLabels:
      {{- include "voicefleet.selectorLabels" $ | nindent 6 }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Annotations of the pod template. A checksum for what the pod reads at its start; none for
autoscaler, alerts or labels, a change of which must drain nobody. */}}
{{- define "voicefleet.podAnnotations" -}}
checksum/settings: {{ include "voicefleet.settings" . | fromYaml | toJson | sha256sum }}
{{- if .Values.agent.files }}
checksum/agent: {{ .Values.agent.files | toJson | sha256sum }}
{{- end }}
{{- if and .Values.secrets.values .Values.secrets.rolloutOnChange }}
checksum/secret: {{ .Values.secrets.values | toJson | sha256sum }}
{{- end }}
# values: eviction.safe
{{- $isAlways := eq .Values.eviction.safe "Always" }}
{{- $own := dict "cluster-autoscaler.kubernetes.io/safe-to-evict" (toString $isAlways) }}
{{- if $isAlways }}
# Or the volume would keep an idle pod's node.
{{- $_ := set $own "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes" "tmp" }}
{{- else }}
{{- $_ := set $own "karpenter.sh/do-not-disrupt" "true" }}
{{- end }}
{{- range $name, $value := $own }}
{{- if not (hasKey $.Values.podAnnotations $name) }}
{{ $name }}: {{ $value | quote }}
{{- end }}
{{- end }}
{{- with .Values.podAnnotations }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "voicefleet.priorityClassName" -}}
{{- if .Values.priorityClass.create }}
{{- default (printf "%s-%s" .Release.Namespace (include "voicefleet.fullname" .)) .Values.priorityClass.name }}
{{- else }}
{{- .Values.priorityClass.name }}
{{- end }}
{{- end }}
