{{- /* Values that cannot work together, each as two lines: what is wrong, and the fix. All are told
at once, before anything is created. Empty where all is well. */}}

{{- define "voicefleet.contradiction" -}}
- {{ index . 0 }}
  fix: {{ index . 1 }}
{{ end }}

{{- define "voicefleet.contradictions" -}}
{{- include "voicefleet.contradictions.livekit" . }}
{{- include "voicefleet.contradictions.agent" . }}
{{- include "voicefleet.contradictions.secrets" . }}
{{- include "voicefleet.contradictions.environment" . }}
{{- include "voicefleet.contradictions.size" . }}
{{- include "voicefleet.contradictions.drain" . }}
{{- include "voicefleet.contradictions.scale" . }}
{{- include "voicefleet.contradictions.labels" . }}
{{- include "voicefleet.contradictions.monitoring" . }}
{{- include "voicefleet.contradictions.network" . }}
{{- include "voicefleet.contradictions.cluster" . }}
{{- end }}

{{- define "voicefleet.contradictions.livekit" -}}
{{- $url := .Values.livekit.url }}
{{- if not $url }}
{{- include "voicefleet.contradiction" (list "livekit.url is not set, so no call could come" "--set livekit.url=wss://your-project.livekit.cloud, or the ws://… of your own LiveKit") }}
{{- else if not (regexMatch "^(wss?|https?)://[^/:]+" $url) }}
{{- include "voicefleet.contradiction" (list (printf "livekit.url is %q, which is no address of LiveKit" $url) "write it as wss://host or ws://host:7880") }}
{{- else if and .Values.networkPolicy.enabled (not .Values.networkPolicy.livekit.to) (include "voicefleet.isPrivate" $url) }}
{{- include "voicefleet.contradiction" (list (printf "LiveKit at %s is in your own network, and networkPolicy.livekit.to is empty, which allows public addresses only" (include "voicefleet.url.host" $url)) "name its namespace or network: --set-json 'networkPolicy.livekit.to=[{\"namespaceSelector\":{\"matchLabels\":{\"kubernetes.io/metadata.name\":\"livekit\"}}}]'") }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.agent" -}}
{{- with .Values.agent }}
{{- if and .files .configMap.name }}
{{- include "voicefleet.contradiction" (list "agent.files and agent.configMap.name are both set" "keep one: the chart's ConfigMap or yours") }}
{{- end }}
{{- $keys := include "voicefleet.agentKeys" $ | fromJsonArray }}
{{- if and $keys (not (has .file $keys)) }}
{{- include "voicefleet.contradiction" (list (printf "agent.file is %q, which is none of the files that are mounted: %s" .file (join ", " $keys)) (printf "--set agent.file=%s" (first $keys))) }}
{{- end }}
{{- if and (not $keys) (hasSuffix ".py" .file) (not (hasPrefix "/" .file)) }}
{{- include "voicefleet.contradiction" (list (printf "agent.file is %q, a file, and none is given" .file) (printf "--set-file 'agent.files.%s=%s', or the absolute path of it in your image" (replace "." "\\." .file) .file)) }}
{{- end }}
{{- if not .file }}
{{- include "voicefleet.contradiction" (list "agent.file is empty" "--set agent.file=assistant, or yours") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.secrets" -}}
{{- with .Values.secrets }}
{{- $sources := compact (list (ternary "existingSecret" "" (ne .existingSecret "")) (ternary "externalSecret.store" "" (ne .externalSecret.store "")) (ternary "values" "" (gt (len .values) 0))) }}
{{- if not $sources }}
{{- include "voicefleet.contradiction" (list "there are no keys of LiveKit" "kubectl create secret generic voicefleet-keys --from-literal=LIVEKIT_API_KEY=… --from-literal=LIVEKIT_API_SECRET=… and --set secrets.existingSecret=voicefleet-keys") }}
{{- else if gt (len $sources) 1 }}
{{- include "voicefleet.contradiction" (list (printf "secrets has %d sources: %s" (len $sources) (join ", " $sources)) "keep one of them") }}
{{- end }}
{{- range $name := include "voicefleet.requiredSecrets" $ | splitList " " }}
{{- if and $.Values.secrets.values (not (get $.Values.secrets.values $name)) }}
{{- include "voicefleet.contradiction" (list (printf "secrets.values has no %s" $name) (printf "--set secrets.values.%s=…" $name)) }}
{{- end }}
{{- if and $.Values.secrets.externalSecret.store (not (get $.Values.secrets.externalSecret.remote $name)) }}
{{- include "voicefleet.contradiction" (list (printf "secrets.externalSecret.remote does not say where %s is" $name) (printf "--set secrets.externalSecret.remote.%s.key=…" $name)) }}
{{- end }}
{{- end }}
{{- if and .csi.secretProviderClass (not .existingSecret) }}
{{- include "voicefleet.contradiction" (list "secrets.csi mounts a SecretProviderClass, and secrets.existingSecret does not name the Secret that it syncs" "--set secrets.existingSecret=<secretName of its secretObjects>") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.environment" -}}
{{- $own := include "voicefleet.ownSettings" . | fromYaml }}
{{- $secret := include "voicefleet.secretSettings" . | splitList " " }}
{{- range $name, $_ := .Values.settings }}
{{- if has $name $secret }}
{{- include "voicefleet.contradiction" (list (printf "settings.%s is a secret, and settings are kept in a ConfigMap" $name) "put it into the Secret, see secrets") }}
{{- else if hasKey $own $name }}
{{- include "voicefleet.contradiction" (list (printf "settings.%s is derived by the chart" $name) (printf "set %s instead" (get $own $name))) }}
{{- end }}
{{- end }}
{{- with get .Values.settings "VOICEFLEET_REPORT_DIR" }}
{{- $directory := . }}
{{- $writable := false }}
{{- range prepend $.Values.extraVolumeMounts (dict "mountPath" "/tmp") }}
{{- if or (eq $directory .mountPath) (hasPrefix (printf "%s/" .mountPath) $directory) }}{{ $writable = true }}{{ end }}
{{- end }}
{{- if not $writable }}
{{- include "voicefleet.contradiction" (list (printf "settings.VOICEFLEET_REPORT_DIR is %s, and the root file system is read-only" $directory) "mount a volume there, by extraVolumes and extraVolumeMounts") }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if or (hasKey $own .name) (has .name $secret) (hasKey $.Values.settings .name) }}
{{- include "voicefleet.contradiction" (list (printf "extraEnv sets %s, which the pod has already" .name) (printf "take it out, and set %s" (get $own .name | default "it in settings or secrets"))) }}
{{- else if hasPrefix "VOICEFLEET_" .name }}
{{- include "voicefleet.contradiction" (list (printf "extraEnv sets %s, and VOICEFLEET_ is for the worker's settings" .name) "move it to settings, or give it another name") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.size" -}}
{{- $memory := include "voicefleet.bytes" .Values.resources.limits.memory }}
{{- $request := include "voicefleet.bytes" .Values.resources.requests.memory }}
{{- $cpu := include "voicefleet.millicores" .Values.resources.requests.cpu | int64 }}
{{- if lt (int64 .Values.slots) 1 }}
{{- include "voicefleet.contradiction" (list (printf "slots is %d, and a pod without a slot answers nobody" (int64 .Values.slots)) (printf "--set slots=%s, 4 for each CPU of resources.requests.cpu" (include "voicefleet.slotsByCpu" .))) }}
{{- else if not $memory }}
{{- include "voicefleet.contradiction" (list (printf "resources.limits.memory is %q: without a limit in bytes one call that leaks takes the node, and all its calls" (toString .Values.resources.limits.memory)) (printf "--set resources.limits.memory=%sMi, which %d slots need" (include "voicefleet.memoryForSlots" .) (int64 .Values.slots))) }}
{{- else if lt (include "voicefleet.callBytes" . | int64) (mul (int64 .Values.memory.leastCallMiB) 1048576) }}
{{- include "voicefleet.contradiction" (list (printf "%d slots in %v leave %s MiB for a call, and below %d MiB healthy calls are ended" (int64 .Values.slots) .Values.resources.limits.memory (include "voicefleet.mebibytes" (include "voicefleet.callBytes" .)) (int64 .Values.memory.leastCallMiB)) (printf "resources.limits.memory of %sMi or more, or at most %s slots" (include "voicefleet.memoryForSlots" .) (include "voicefleet.slotsByMemory" .))) }}
{{- end }}
{{- if lt $cpu 1 }}
{{- include "voicefleet.contradiction" (list (printf "resources.requests.cpu is %q, and the pod's load is measured against it" (toString .Values.resources.requests.cpu)) "set it in CPUs: a CPU for four slots") }}
{{- end }}
{{- if and $memory $request (gt (int64 $request) (int64 $memory)) }}
{{- include "voicefleet.contradiction" (list (printf "resources.requests.memory (%v) is above resources.limits.memory (%v)" .Values.resources.requests.memory .Values.resources.limits.memory) "make them equal") }}
{{- end }}
{{- $disk := include "voicefleet.bytes" (index .Values.resources.limits "ephemeral-storage") }}
{{- if and $disk (gt (include "voicefleet.bytes" .Values.tmpSize | int64) (int64 $disk)) }}
{{- include "voicefleet.contradiction" (list (printf "tmpSize (%v) is above resources.limits.ephemeral-storage (%v), so a pod is evicted before /tmp is full" .Values.tmpSize (index .Values.resources.limits "ephemeral-storage")) "raise the limit, or lower tmpSize") }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.drain" -}}
{{- $needed := include "voicefleet.drainSeconds" . | int64 }}
{{- $grace := include "voicefleet.gracePeriodSeconds" . | int64 }}
{{- if lt $grace $needed }}
{{- include "voicefleet.contradiction" (list (printf "drain.gracePeriodSeconds is %d, and a drain takes up to %d s: %s; the kubelet would end the calls" $grace $needed (include "voicefleet.drainSum" .)) (printf "leave drain.gracePeriodSeconds at 0, or lower drain.timeoutSeconds to %d" (max 1 (sub .Values.drain.timeoutSeconds (sub $needed $grace))))) }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.scale" -}}
{{- with .Values.rollout }}
{{- if and (has (toString .maxSurge) (list "0" "0%")) (has (toString .maxUnavailable) (list "0" "0%")) }}
{{- include "voicefleet.contradiction" (list "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could ever be replaced" "--set rollout.maxSurge=1") }}
{{- end }}
{{- end }}
{{- with .Values.scale }}
{{- if lt (int64 .min) 1 }}
{{- include "voicefleet.contradiction" (list (printf "scale.min is %d, and a fleet without a pod answers nobody: LiveKit has no queue" (int64 .min)) "--set scale.min=2, so that one may be lost") }}
{{- end }}
{{- if and (ne .by "none") (gt (int64 .min) (int64 .max)) }}
{{- include "voicefleet.contradiction" (list (printf "scale.min is %d and scale.max is %d" (int64 .min) (int64 .max)) "lower scale.min or raise scale.max") }}
{{- end }}
{{- if and (eq .by "keda") (not .keda.prometheusAddress) }}
{{- include "voicefleet.contradiction" (list "scale.by is keda, and scale.keda.prometheusAddress does not say where Prometheus is" "--set scale.keda.prometheusAddress=http://prometheus-operated.monitoring.svc:9090") }}
{{- else if and (eq .by "keda") (not (regexMatch "^https?://[^/:]+" .keda.prometheusAddress)) }}
{{- include "voicefleet.contradiction" (list (printf "scale.keda.prometheusAddress is %q, which is no address" .keda.prometheusAddress) "write it as http://host:9090") }}
{{- end }}
{{- end }}
{{- range .Values.extraObjects }}
{{- $object := tpl (kindIs "string" . | ternary . (toYaml .)) $ | fromYaml }}
{{- $target := dig "spec" "scaleTargetRef" (dig "spec" "targetRef" dict $object) $object }}
{{- if and (has $object.kind (list "HorizontalPodAutoscaler" "ScaledObject" "VerticalPodAutoscaler")) (eq (get $target "name") (include "voicefleet.fullname" $)) }}
{{- include "voicefleet.contradiction" (list (printf "extraObjects has a %s for the fleet that the chart scales (scale.by=%s): two would pull at it" $object.kind $.Values.scale.by) "take it out, and use the keys of scale") }}
{{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.labels" -}}
{{- range $key, $own := dict "podLabels" (include "voicefleet.selectorLabels" . | fromYaml) "commonLabels" (include "voicefleet.objectLabels" (dict "Chart" .Chart "Release" .Release "Values" (omit .Values "commonLabels")) | fromYaml) "monitoring.labels" (include "voicefleet.objectLabels" . | fromYaml) }}
{{- $given := eq $key "monitoring.labels" | ternary $.Values.monitoring.labels (get $.Values $key) }}
{{- range $name := keys $given | sortAlpha }}
{{- if hasKey $own $name }}
{{- include "voicefleet.contradiction" (list (printf "%s sets %s, which is the chart's own" $key $name) "take it out, or see nameOverride") }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.monitoring" -}}
{{- if and .Values.monitoring.alerts.enabled (not .Values.monitoring.rules.enabled) }}
{{- include "voicefleet.contradiction" (list "monitoring.alerts.enabled without monitoring.rules.enabled: the alerts read what the rules record, and would never fire" "--set monitoring.rules.enabled=true") }}
{{- end }}
{{- end }}

{{- define "voicefleet.contradictions.network" -}}
{{- $policy := .Values.networkPolicy }}
{{- $endpoint := .Values.telemetry.endpoint }}
{{- if and $endpoint (not (regexMatch "^https?://[^/:]+" $endpoint)) }}
{{- include "voicefleet.contradiction" (list (printf "telemetry.endpoint is %q, which is no address" $endpoint) "write it as http://collector.namespace.svc:4318") }}
{{- else if and $endpoint $policy.enabled (not $policy.telemetry.to) (include "voicefleet.isPrivate" $endpoint) (not (include "voicefleet.isInCluster" $endpoint)) }}
{{- include "voicefleet.contradiction" (list (printf "the collector at %s is in your own network, and networkPolicy.telemetry.to does not name it" (include "voicefleet.url.host" $endpoint)) "--set-json 'networkPolicy.telemetry.to=[{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"}}]'") }}
{{- end }}
{{- range $name := list "OPENAI_BASE_URL" "VOICEFLEET_LLM_URL" "VOICEFLEET_DEEPGRAM_URL" "VOICEFLEET_CARTESIA_URL" "VOICEFLEET_REPORT_URL" }}
{{- $url := get $.Values.settings $name | toString }}
{{- if and $url $policy.enabled (not $policy.extraEgress) }}
{{- $port := include "voicefleet.url.port" (dict "url" $url "secure" "443" "plain" "80") }}
{{- if and (not $policy.providers.to) (include "voicefleet.isPrivate" $url) }}
{{- include "voicefleet.contradiction" (list (printf "%s is in your own network (%s), and networkPolicy.providers.to is empty, which allows public addresses only" $name (include "voicefleet.url.host" $url)) "name it in networkPolicy.providers.to or extraEgress") }}
{{- end }}
{{- if not (has $port $policy.providers.ports) }}
{{- include "voicefleet.contradiction" (list (printf "%s has port %s, and networkPolicy.providers.ports has not" $name $port) (printf "add \"%s\" to networkPolicy.providers.ports" $port)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* What runs already, where Helm can see a cluster. */}}
{{- define "voicefleet.contradictions.cluster" -}}
{{- $name := include "voicefleet.fullname" . }}
{{- $ours := get (dict "hpa" $name "keda" (printf "keda-hpa-%s" $name)) .Values.scale.by }}
{{- range dig "items" list (lookup "autoscaling/v2" "HorizontalPodAutoscaler" .Release.Namespace "" | default dict) }}
{{- $isOurs := or (eq .metadata.name (toString $ours)) (eq (dig "metadata" "annotations" "meta.helm.sh/release-name" "" .) $.Release.Name) (eq .metadata.name (printf "keda-hpa-%s" $name)) }}
{{- if and (eq .spec.scaleTargetRef.name $name) (not $isOurs) }}
{{- include "voicefleet.contradiction" (list (printf "the HorizontalPodAutoscaler %s scales this fleet already: two would pull at it" .metadata.name) (printf "kubectl delete hpa %s, or leave the fleet to it" .metadata.name)) }}
{{- end }}
{{- end }}
{{- $live := lookup "apps/v1" "Deployment" .Release.Namespace $name | default dict }}
{{- $pods := dig "spec" "replicas" 0 $live | int64 }}
{{- if and (ne .Values.scale.by "none") (gt $pods 1) (include "voicefleet.ownsReplicas" $live) }}
{{- include "voicefleet.contradiction" (list (printf "the fleet's %d pods are fixed by Helm; once the chart leaves the number to an autoscaler, Kubernetes would make it 1 and drain the others" $pods) (printf "hand the number over first: %s" (include "voicefleet.handOver" (dict "root" . "pods" $pods)))) }}
{{- end }}
{{- $holders := include "voicefleet.replicaHolders" $live | fromJsonArray }}
{{- if and (eq .Values.scale.by "none") (gt $pods (int64 .Values.scale.min)) (without $holders "helm") }}
{{- include "voicefleet.contradiction" (list (printf "the fleet has %d pods, set by %s, and scale.min would make it %d at once" $pods (without $holders "helm" | join ", ") (int64 .Values.scale.min)) (printf "--set scale.min=%d, and lower it in steps once calls allow it" $pods)) }}
{{- end }}
{{- end }}

{{- /* Who holds spec.replicas of a live Deployment, as a JSON list of field managers. */}}
{{- define "voicefleet.replicaHolders" -}}
{{- $holders := list }}
{{- range dig "metadata" "managedFields" list . }}
{{- if hasKey (dig "fieldsV1" "f:spec" dict .) "f:replicas" }}
{{- $holders = append $holders .manager }}
{{- end }}
{{- end }}
{{- uniq $holders | toJson }}
{{- end }}

{{- /* Whether Helm alone holds it: true or empty. When the last holder leaves a field out, the API
server takes its default, which is 1. */}}
{{- define "voicefleet.ownsReplicas" -}}
{{- if eq (include "voicefleet.replicaHolders" .) (list "helm" | toJson) }}true{{ end }}
{{- end }}

{{- define "voicefleet.handOver" -}}
{{- printf "kubectl -n %s apply --server-side --field-manager=autoscaler --filename - <<< '{\"apiVersion\":\"apps/v1\",\"kind\":\"Deployment\",\"metadata\":{\"name\":\"%s\"},\"spec\":{\"replicas\":%d}}'" .root.Release.Namespace (include "voicefleet.fullname" .root) (int64 .pods) }}
{{- end }}
