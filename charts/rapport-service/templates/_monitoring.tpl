{{- define "rapport-service.monitoring" -}}
{{- $name := include "rapport-service.fullname" . }}
{{- with .Values.monitoring.serviceMonitor }}
{{- if .enabled }}
apiVersion: monitoring.coreos.com/v1
kind: ServiceMonitor
metadata:
  {{- include "rapport-service.metadata" (list $ "server" $name) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  jobLabel: app.kubernetes.io/name
  selector:
    matchLabels:
      {{- include "rapport-service.selector" (list $ "server") | nindent 6 }}
  endpoints:
    # Only the headless Service has this port.
    - port: http-metrics
      interval: {{ .interval }}
{{- end }}
{{- end }}
{{- with .Values.monitoring.rules }}
{{- $groups := include "rapport-service.alerts" $ | trim }}
{{- if and .enabled $groups }}
---
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  {{- include "rapport-service.metadata" (list $ "server" $name) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  groups:
    {{- $groups | nindent 4 }}
{{- end }}
{{- end }}
{{- with .Values.monitoring.dashboards }}
{{- $files := include "rapport-service.dashboards" $ | trim }}
{{- if and .enabled $files }}
---
apiVersion: v1
kind: ConfigMap
metadata:
  {{- include "rapport-service.metadata" (list $ "server" (printf "%s-dashboards" $name)) | nindent 2 }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
data:
  {{- $files | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
