{{- /* Numbers that follow from other numbers; each as text, for `int64`. */}}

{{- /* Bytes of a quantity of Kubernetes: 4Gi, 512Mi, 1.5G, 4294967296. Empty where it is none. */}}
{{- define "voicefleet.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 }}
{{- $text := . | toString }}
{{- if kindIs "float64" . }}{{ $text = int64 . | toString }}{{ end }}
{{- if regexMatch "^[0-9]+(\\.[0-9]+)?([kMGT]|[KMGT]i)?$" $text }}
{{- $number := regexFind "^[0-9]+(\\.[0-9]+)?" $text }}
{{- mulf (float64 $number) (get $units (trimPrefix $number $text)) | floor | int64 }}
{{- end }}
{{- end }}

{{- /* Thousandths of a CPU: "2" and 2 are 2000, "500m" is 500. Empty where it is none. */}}
{{- define "voicefleet.millicores" -}}
{{- $text := . | toString }}
{{- if regexMatch "^[0-9]+m$" $text }}
{{- trimSuffix "m" $text }}
{{- else if regexMatch "^[0-9]+(\\.[0-9]+)?$" $text }}
{{- mulf (float64 $text) 1000 | floor | int64 }}
{{- end }}
{{- end }}

{{- define "voicefleet.mebibytes" -}}
{{- div (int64 .) 1048576 }}
{{- end }}

{{- /* What follows a drain's deadline, beside the hooks: worker/voicefleet/settings/pod.py has both. */}}
{{- define "voicefleet.farewellSeconds" -}}
20
{{- end }}

{{- define "voicefleet.closeSeconds" -}}
85
{{- end }}

{{- /* LiveKit gives shutdown callbacks their time twice; the worker's own default is 60. */}}
{{- define "voicefleet.shutdownSeconds" -}}
{{- mul 2 (default 60 (int64 .Values.drain.shutdownSeconds)) }}
{{- end }}

{{- /* Seconds from SIGTERM to the pod's own end, where every step takes its longest. */}}
{{- define "voicefleet.drainSeconds" -}}
{{- with .Values.drain }}
{{- add .timeoutSeconds (include "voicefleet.farewellSeconds" $) .hooksSeconds (include "voicefleet.shutdownSeconds" $) (include "voicefleet.closeSeconds" $) }}
{{- end }}
{{- end }}

{{- define "voicefleet.gracePeriodSeconds" -}}
{{- default (include "voicefleet.drainSeconds" . | int64) (int64 .Values.drain.gracePeriodSeconds) }}
{{- end }}

{{- define "voicefleet.drainSum" -}}
{{- with .Values.drain }}
{{- printf "%d (calls) + %s (farewell) + %d (hooks) + %s (shutdown) + %s (close)" (int64 .timeoutSeconds) (include "voicefleet.farewellSeconds" $) (int64 .hooksSeconds) (include "voicefleet.shutdownSeconds" $) (include "voicefleet.closeSeconds" $) }}
{{- end }}
{{- end }}

{{- /* Bytes that one call may have: its share of what is planned with, beside the pod's own. */}}
{{- define "voicefleet.callBytes" -}}
{{- $limit := include "voicefleet.bytes" .Values.resources.limits.memory | int64 }}
{{- $planned := div (mul $limit (int64 .Values.memory.plannedPercent)) 100 }}
{{- $pod := mul (int64 .Values.memory.podMiB) 1048576 }}
{{- max 0 (div (sub $planned $pod) (max 1 (int64 .Values.slots))) }}
{{- end }}

{{- define "voicefleet.callWarnBytes" -}}
{{- div (mul (include "voicefleet.callBytes" . | int64) (int64 .Values.memory.warnPercent)) 100 }}
{{- end }}

{{- /* The slots that this much memory would carry. */}}
{{- define "voicefleet.slotsByMemory" -}}
{{- $limit := include "voicefleet.bytes" .Values.resources.limits.memory | int64 }}
{{- $planned := div (mul $limit (int64 .Values.memory.plannedPercent)) 100 }}
{{- $pod := mul (int64 .Values.memory.podMiB) 1048576 }}
{{- max 0 (div (sub $planned $pod) (mul (int64 .Values.memory.leastCallMiB) 1048576)) }}
{{- end }}

{{- /* MiB that so many slots need at least. */}}
{{- define "voicefleet.memoryForSlots" -}}
{{- $needed := add (int64 .Values.memory.podMiB) (mul (int64 .Values.slots) (int64 .Values.memory.leastCallMiB)) }}
{{- divf (mulf $needed 100) .Values.memory.plannedPercent | ceil | int64 }}
{{- end }}

{{- /* Slots for the CPU that is asked for: 4 for each, as worker/voicefleet/pod/slots.py. */}}
{{- define "voicefleet.slotsByCpu" -}}
{{- max 1 (div (mul 4 (include "voicefleet.millicores" .Values.resources.requests.cpu | int64)) 1000) }}
{{- end }}
