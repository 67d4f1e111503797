{{- define "rapport-service.serviceaccount" -}}
{{- if .Values.serviceAccount.create -}}
apiVersion: v1
kind: ServiceAccount
metadata:
  {{- include "rapport-service.metadata" (list . "server" (include "rapport-service.account" .)) | nindent 2 }}
  {{- with .Values.serviceAccount.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
automountServiceAccountToken: false
{{- end }}
{{- end }}

{{/*
The configuration file. Ports and folders are the chart's; the rest are the keys of `config` under their own names.
A headless Service is asked for, because the client balances over the addresses itself.
*/}}
{{- define "rapport-service.config" -}}
{{- $config := deepCopy .Values.config }}
{{- $scheme := include "rapport-service.scheme" . }}
{{- $services := dict }}
{{- range (include "rapport-service.callees" . | fromYaml).of }}
{{- if ne . "identity" }}{{ $_ := set $services . (printf "%s://%s-headless:8080" $scheme .) }}{{ end }}
{{- end }}
{{- $_ := set $config "services" (mergeOverwrite $services $config.services) }}
{{- $_ := set $config "listen" "0.0.0.0:8080" }}
{{- $_ := set $config "metrics" "0.0.0.0:9090" }}
{{- /* Identity asks itself under a name that its own certificate has. */}}
{{- $identity := ternary (include "rapport-service.fullname" .) "identity" (eq .Chart.Name "identity") }}
{{- if not $config.identity }}{{ $_ := set $config "identity" (printf "%s://%s-headless:8080" $scheme $identity) }}{{ end }}
{{- if .Values.certificate.enabled }}
{{- $_ := set $config "health" "0.0.0.0:8081" }}
{{- $folder := "/etc/rapport/tls" }}
{{- $files := dict "certificate" (printf "%s/tls.crt" $folder) "key" (printf "%s/tls.key" $folder) "authority" (printf "%s/ca.crt" $folder) }}
{{- $_ := set $config "tls" $files }}
{{- end }}
{{- include "rapport-service.toml" (list "" $config) }}
{{- end }}

{{/* TOML of (list section map). Not `toToml`, which would write whole numbers as 8.0. */}}
{{- define "rapport-service.toml" -}}
{{- $section := index . 0 }}
{{- $tables := list }}
{{- range $key, $value := index . 1 }}
{{- if kindIs "map" $value }}{{ $tables = append $tables $key }}
{{- else if kindIs "float64" $value }}{{ printf "%s = %d\n" $key (int64 $value) }}
{{- else if not (kindIs "invalid" $value) }}{{ printf "%s = %s\n" $key (toJson $value) }}
{{- end }}
{{- end }}
{{- range $tables }}
{{- $table := printf "%s%s" $section . }}
{{- $entries := get (index $ 1) . }}
{{- if $entries }}{{ printf "\n[%s]\n" $table }}{{ include "rapport-service.toml" (list (printf "%s." $table) $entries) }}{{ end }}
{{- end }}
{{- end }}

{{/*
The configuration travels with the pods that were made for it, as an annotation that they see as a file: a container that
starts again while an upgrade is under way, or an old pod that moves to another node after one has failed, finds the
configuration of its own version, which may not know a newer one's keys.
*/}}
{{- define "rapport-service.config.annotation" -}}
rapport.toml: |
  {{- include "rapport-service.config" . | trim | nindent 2 }}
{{- end }}

{{- define "rapport-service.config.volume" -}}
- name: config
  downwardAPI:
    defaultMode: 0444
    items:
      - path: rapport.toml
        fieldRef:
          fieldPath: metadata.annotations['rapport.toml']
{{- end }}
