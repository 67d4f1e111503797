{{/* Everything that a service is: the one include of its chart. */}}
{{- define "rapport-service.all" -}}
{{- include "rapport-service.refuse" . }}
{{- range list "serviceaccount" "configmap" "services" "deployment" "migration" "disruption" "scaling" "network" "certificate" "exposure" "monitoring" "test" }}
{{- with include (printf "rapport-service.%s" .) $ | trim }}
---
{{ . }}
{{- end }}
{{- end }}
{{- end }}
