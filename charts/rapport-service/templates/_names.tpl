{{/* Every object of a service is called after it: one installation a namespace, so that http://<service>:8080 works. */}}
{{- define "rapport-service.fullname" -}}
{{ .Values.fullnameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* How services call each other: with a certificate over TLS, and over nothing else. */}}
{{- define "rapport-service.scheme" -}}
{{ ternary "https" "http" .Values.certificate.enabled }}
{{- end }}

{{/* What a pod is found by, for (list context component). */}}
{{- define "rapport-service.selector" -}}
{{- $ := index . 0 -}}
app.kubernetes.io/name: {{ $.Chart.Name }}
app.kubernetes.io/instance: {{ $.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of an object, for (list context component). */}}
{{- define "rapport-service.labels" -}}
{{- $ := index . 0 -}}
{{ include "rapport-service.selector" . }}
app.kubernetes.io/part-of: rapport
app.kubernetes.io/version: {{ $.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ $.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $.Chart.Name $.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* The metadata of an object, for (list context component name). */}}
{{- define "rapport-service.metadata" -}}
{{- $ := index . 0 -}}
name: {{ index . 2 }}
namespace: {{ $.Release.Namespace }}
labels:
  {{- include "rapport-service.labels" (list $ (index . 1)) | nindent 2 }}
{{- end }}

{{- define "rapport-service.account" -}}
{{ .Values.serviceAccount.name | default (include "rapport-service.fullname" .) }}
{{- end }}

{{- define "rapport-service.image" -}}
{{- $image := .Values.image }}
{{- $global := dig "image" "registry" "" (.Values.global | default dict) }}
{{- with $image.registry | default $global }}{{ trimSuffix "/" . }}/{{ end -}}
{{ $image.repository | default (printf "rapport-%s" .Chart.Name) }}
{{- if or $image.tag (not $image.digest) }}:{{ $image.tag | default .Chart.AppVersion }}{{ end }}
{{- with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{/* The least and the most number of pods, whatever decides about it. */}}
{{- define "rapport-service.least" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.min }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}
{{- define "rapport-service.most" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.max }}{{ else }}{{ .Values.replicas }}{{ end }}
{{- end }}

{{/* What the schema cannot say about values, because it spans several of them. */}}
{{- define "rapport-service.refuse" -}}
{{- $most := include "rapport-service.most" . | int }}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.min) (int .Values.autoscaling.max)) }}
{{- fail (printf "%s: autoscaling.min is above autoscaling.max" .Chart.Name) }}
{{- end }}
{{- /* Two pods more during an upgrade: a new one, and an old one that still ends; the system role has four connections besides. */}}
{{- $wanted := mul (add $most 2) (add .Values.config.database_connections 4) }}
{{- $budget := div (mul .Values.database.maxConnections 80) 100 }}
{{- if gt $wanted $budget }}
{{- $short := printf "%s: %d pods (and two more during an upgrade) would open %d database connections" .Chart.Name $most $wanted }}
{{- $remedy := "lower autoscaling.max, replicas or config.database_connections, or raise the server's max_connections" }}
{{- fail (printf "%s, and 80 %% of database.maxConnections are %d: %s and database.maxConnections" $short $budget $remedy) }}
{{- end }}
{{- if and (dig "enabled" false (.Values.keda | default dict)) (not .Values.autoscaling.enabled) }}
{{- fail (printf "%s: keda.enabled needs autoscaling.enabled, whose limits it takes" .Chart.Name) }}
{{- end }}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) }}
{{- fail (printf "%s: ingress.host must be given with ingress.enabled" .Chart.Name) }}
{{- end }}
{{- if and .Values.grpcRoute.enabled (not .Values.grpcRoute.parentRefs) }}
{{- fail (printf "%s: grpcRoute.parentRefs must be given with grpcRoute.enabled" .Chart.Name) }}
{{- end }}
{{- if and .Values.certificate.enabled (not .Values.certificate.issuer.name) (not .Values.certificate.existingSecret) }}
{{- fail (printf "%s: certificate.enabled needs certificate.issuer.name or certificate.existingSecret" .Chart.Name) }}
{{- end }}
{{- $scheme := printf "%s://" (include "rapport-service.scheme" .) }}
{{- range $key, $address := merge (dict "identity" .Values.config.identity) .Values.config.services }}
{{- if and $address (not (hasPrefix $scheme $address)) }}
{{- fail (printf "%s: the address of %s must begin with %s, as certificate.enabled is %t" $.Chart.Name $key $scheme $.Values.certificate.enabled) }}
{{- end }}
{{- end }}
{{- end }}
