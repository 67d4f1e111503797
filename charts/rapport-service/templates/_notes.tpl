{{- define "rapport-service.notes" -}}
{{- $name := include "rapport-service.fullname" . -}}
{{- $ns := .Release.Namespace -}}
{{ .Chart.Name }} {{ .Chart.AppVersion }}, revision {{ .Release.Revision }}, in the namespace {{ $ns }}.

  kubectl -n {{ $ns }} rollout status deployment/{{ $name }}
  helm -n {{ $ns }} test {{ .Release.Name }}        # a call from another pod

It reads the Secret {{ .Values.secrets.existingSecret | default (printf "%s-secrets" $name) }}
(database_app, database_system, broker, credential, sealing) and, in the migration's Job alone, the Secret
{{ .Values.secrets.migratorSecret | default (printf "%s-migrator" $name) }} (database_migrator).
Until they are there, pods wait in ContainerCreating; until the database has this version's schema, in Init.
{{- if .Values.migrations.enabled }}
  kubectl -n {{ $ns }} logs job/{{ $name }}-migrate-{{ .Values.migrations.suffix | default (toString .Release.Revision) }}
{{- end }}
{{- if not .Values.networkPolicy.extraIngress }}

Callers in the cluster reach it at {{ include "rapport-service.scheme" . }}://{{ $name }}.{{ $ns }}:8080 once networkPolicy.extraIngress names them; from your machine:
  kubectl -n {{ $ns }} port-forward service/{{ $name }} 8080
{{- end }}
{{- end }}
