{{/*
One Job a revision, part of the release and not a hook: it comes together with the Secrets and policies that it needs,
and the pods wait for the schema that it makes. Old pods go on serving on the new schema meanwhile.
*/}}
{{- define "rapport-service.migration" -}}
{{- if .Values.migrations.enabled -}}
{{- $name := include "rapport-service.fullname" . -}}
{{- $job := printf "%s-migrate-%s" $name (.Values.migrations.suffix | default (toString .Release.Revision)) -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "rapport-service.metadata" (list . "migrate" $job) | nindent 2 }}
spec:
  backoffLimit: 8
  activeDeadlineSeconds: {{ .Values.migrations.deadlineSeconds }}
  ttlSecondsAfterFinished: {{ .Values.migrations.ttlSeconds }}
  template:
    metadata:
      labels:
        {{- include "rapport-service.labels" (list . "migrate") | nindent 8 }}
    spec:
      {{- include "rapport-service.pod" . | nindent 6 }}
      restartPolicy: Never
      containers:
        - name: migrate
          args: [migrate, --wait, "60"]
          {{- include "rapport-service.container" (list . .Values.resources) | nindent 10 }}
          volumeMounts:
            - name: secrets
              mountPath: /etc/rapport/secrets
              readOnly: true
      volumes:
        - name: secrets
          secret:
            secretName: {{ .Values.secrets.migratorSecret | default (printf "%s-migrator" $name) }}
            defaultMode: 0440
{{- end }}
{{- end }}

{{/* A real call from another pod, with the service's own certificate if it has one: `helm test`. A Job, since what has no
probes should end. */}}
{{- define "rapport-service.test" -}}
{{- $name := include "rapport-service.fullname" . -}}
apiVersion: batch/v1
kind: Job
metadata:
  {{- include "rapport-service.metadata" (list . "test" (printf "%s-test" $name)) | nindent 2 }}
  annotations:
    helm.sh/hook: test
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 3
  activeDeadlineSeconds: 120
  template:
    metadata:
      labels:
        {{- include "rapport-service.labels" (list . "test") | nindent 8 }}
      {{- if .Values.certificate.enabled }}
      annotations:
        {{- include "rapport-service.config.annotation" . | nindent 8 }}
      {{- end }}
    spec:
      {{- include "rapport-service.pod" . | nindent 6 }}
      restartPolicy: Never
      containers:
        - name: check
          {{- if .Values.certificate.enabled }}
          args: [--config, /etc/rapport/config/rapport.toml, check, --address, "https://{{ $name }}:8080", --wait, "30"]
          {{- else }}
          args: [check, --address, "http://{{ $name }}:8080", --wait, "30"]
          {{- end }}
          {{- include "rapport-service.container" (list . .Values.resources) | nindent 10 }}
          {{- if .Values.certificate.enabled }}
          volumeMounts:
            - name: config
              mountPath: /etc/rapport/config
              readOnly: true
            {{- include "rapport-service.tls.mount" . | nindent 12 }}
      volumes:
        {{- include "rapport-service.config.volume" . | nindent 8 }}
        {{- include "rapport-service.tls.volume" . | nindent 8 }}
          {{- end }}
{{- end }}
