{{/*
The one table of who calls whom. Network policies and the addresses in the configuration are made from it, and a test
compares it with what the policies of the rendered charts let through.
*/}}
{{- define "rapport-service.calls" -}}
identity: []
contacts: [identity]
{{- end }}

{{/* Services that this one calls, as a YAML list below "of". */}}
{{- define "rapport-service.callees" -}}
of: {{ get (include "rapport-service.calls" . | fromYaml) .Chart.Name | toJson }}
{{- end }}

{{/* Services that call this one, as a YAML list below "of". */}}
{{- define "rapport-service.callers" -}}
{{- $callers := list }}
{{- range $caller, $callees := include "rapport-service.calls" . | fromYaml }}
{{- if has $.Chart.Name $callees }}{{ $callers = append $callers $caller }}{{ end }}
{{- end -}}
of: {{ $callers | sortAlpha | toJson }}
{{- end }}
