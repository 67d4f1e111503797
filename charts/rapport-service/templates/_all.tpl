{{/* Everything that a service is: the one include of its chart. */}}
{{- define "rapport-service.all" -}}
{{- include "rapport-service.refuse" . }}
{{- $work := list "serviceaccount" "services" "deployment" "migration" "disruption" "scaling" }}
{{- $around := list "network" "certificate" "exposure" "monitoring" "test" }}
{{- range concat $work $around }}
{{- with include (printf "rapport-service.%s" .) $ | trim }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end }}
