{{- /* Peers and ports of the NetworkPolicy. */}}

{{- define "voicefleet.url.host" -}}
{{- (urlParse .).host | regexFind "^(\\[[^]]*\\]|[^:]*)" }}
{{- end }}

{{- define "voicefleet.url.port" -}}
{{- $url := urlParse .url }}
{{- $port := regexFind ":[0-9]+$" $url.host | trimPrefix ":" }}
{{- default (ternary .secure .plain (has $url.scheme (list "wss" "https"))) $port }}
{{- end }}

{{- /* Ports and ranges such as 50000-60000, of one protocol. */}}
{{- define "voicefleet.ports" -}}
{{- range $range := .ports | uniq }}
{{- $ends := splitList "-" (toString $range) }}
- protocol: {{ $.protocol }}
  port: {{ first $ends }}
  {{- if gt (len $ends) 1 }}
  endPort: {{ last $ends }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* Whether an address is that of a Service: true or empty. */}}
{{- define "voicefleet.isInCluster" -}}
{{- $host := include "voicefleet.url.host" . }}
{{- if and (not (hasPrefix "[" $host)) (or (not (contains "." $host)) (regexMatch "\\.svc(\\.|$)" $host)) }}true{{ end }}
{{- end }}

{{- /* The peers that are named, or every public address. */}}
{{- define "voicefleet.peers" -}}
{{- if .to }}
{{- toYaml .to }}
{{- else -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
      {{- toYaml .root.Values.networkPolicy.privateNetworks | nindent 6 }}
- ipBlock:
    cidr: ::/0
    except:
      {{- toYaml .root.Values.networkPolicy.privateNetworks6 | nindent 6 }}
{{- end }}
{{- end }}

{{- /* Whether an address lies in a network of one's own: true or empty. */}}
{{- define "voicefleet.isPrivate" -}}
{{- $host := include "voicefleet.url.host" . }}
{{- if hasPrefix "[" $host }}
{{- if regexMatch "^\\[(::1\\]|f[cd]|fe[89ab])" (lower $host) }}true{{ end }}
{{- else if or (not (contains "." $host)) (regexMatch "\\.(svc|local|internal|lan)\\.?$" $host) (contains ".svc." $host) (regexMatch "^(10\\.|127\\.|192\\.168\\.|172\\.(1[6-9]|2[0-9]|3[01])\\.|100\\.(6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\\.)[0-9.]+$" $host) }}true{{ end }}
{{- end }}

{{- /* Who the collector may be: named, any pod for a Service's address, or every public address. */}}
{{- define "voicefleet.collectorPeers" -}}
{{- $to := .Values.networkPolicy.telemetry.to }}
{{- if and (not $to) (include "voicefleet.isInCluster" .Values.telemetry.endpoint) }}
{{- $to = list (dict "namespaceSelector" dict) }}
{{- end }}
{{- include "voicefleet.peers" (dict "root" . "to" $to) }}
{{- end }}
