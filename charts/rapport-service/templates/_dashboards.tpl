{{/* the files of a service's dashboards, as a YAML map of name and JSON text; none by default. */}}
{{- define "rapport-service.dashboards" -}}
{{- end }}
