{{- define "rapport-service.deployment" -}}
{{- $name := include "rapport-service.fullname" . -}}
{{- /* The kubelet shows no certificate. */}}
{{- $probed := ternary 8081 8080 .Values.certificate.enabled -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
spec:
  {{- if not .Values.autoscaling.enabled }}
  replicas: {{ .Values.replicas }}
  {{- end }}
  revisionHistoryLimit: 5
  # By then a resolver that keeps names has the address of the new pod, and the next old one may go.
  minReadySeconds: {{ .Values.minReadySeconds }}
  progressDeadlineSeconds: {{ add .Values.migrations.waitSeconds 300 }}
  selector:
    matchLabels:
      {{- include "rapport-service.selector" (list . "server") | nindent 6 }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxUnavailable: 0
      maxSurge: 1
  template:
    metadata:
      labels:
        {{- include "rapport-service.labels" (list . "server") | nindent 8 }}
        {{- with .Values.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        {{- include "rapport-service.config.annotation" . | nindent 8 }}
        {{- with .Values.podAnnotations }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "rapport-service.pod" . | nindent 6 }}
      # After SIGTERM the process itself waits until endpoints have left, drains its calls, and ends its background work.
      terminationGracePeriodSeconds: {{ add .Values.config.leave_seconds .Values.config.drain_seconds 7 }}
      {{- include "rapport-service.spread" . | nindent 6 }}
      {{- with .Values.affinity }}
      affinity:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      initContainers:
        - name: schema
          args: [--config, /etc/rapport/config/rapport.toml, check, --schema, --wait, {{ .Values.migrations.waitSeconds | quote }}]
          {{- include "rapport-service.container" (list . .Values.resources) | nindent 10 }}
          {{- include "rapport-service.mounts" . | nindent 10 }}
      containers:
        - name: {{ .Chart.Name }}
          args: [--config, /etc/rapport/config/rapport.toml, serve]
          {{- include "rapport-service.container" (list . .Values.resources) | nindent 10 }}
          {{- include "rapport-service.mounts" . | nindent 10 }}
          ports:
            - name: grpc
              containerPort: 8080
            {{- if .Values.certificate.enabled }}
            - name: grpc-health
              containerPort: 8081
            {{- end }}
            - name: http-metrics
              containerPort: 9090
          startupProbe:
            grpc:
              port: {{ $probed }}
            periodSeconds: 1
            timeoutSeconds: 2
            failureThreshold: {{ .Values.startupSeconds }}
          readinessProbe:
            grpc:
              port: {{ $probed }}
            periodSeconds: 5
            timeoutSeconds: 2
            failureThreshold: 2
          # The same answer as readiness, which changes at the start and the end of the process alone and never because
          # a database or the broker is away; and much patience, so that nothing but a process that hangs is killed.
          livenessProbe:
            grpc:
              port: {{ $probed }}
            periodSeconds: 10
            timeoutSeconds: 5
            failureThreshold: 6
      volumes:
        {{- include "rapport-service.config.volume" . | nindent 8 }}
        - name: secrets
          projected:
            defaultMode: 0440
            sources:
              - secret:
                  name: {{ .Values.secrets.existingSecret | default (printf "%s-secrets" $name) }}
              {{- range $service, $secret := .Values.secrets.trusted }}
              - secret:
                  name: {{ $secret }}
                  optional: true
                  items:
                    - key: credential
                      path: trusted/{{ $service }}
              {{- end }}
        {{- include "rapport-service.tls.volume" . | nindent 8 }}
{{- end }}

{{- define "rapport-service.tls.volume" -}}
{{- if .Values.certificate.enabled -}}
- name: tls
  secret:
    secretName: {{ .Values.certificate.existingSecret | default (printf "%s-tls" (include "rapport-service.fullname" .)) }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{- define "rapport-service.tls.mount" -}}
{{- if .Values.certificate.enabled -}}
- name: tls
  mountPath: /etc/rapport/tls
  readOnly: true
{{- end }}
{{- end }}

{{- define "rapport-service.mounts" -}}
volumeMounts:
  - name: config
    mountPath: /etc/rapport/config
    readOnly: true
  - name: secrets
    mountPath: /etc/rapport/secrets
    readOnly: true
  {{- include "rapport-service.tls.mount" . | nindent 2 }}
{{- end }}

{{- define "rapport-service.spread" -}}
{{- $keys := dict "zone" "topology.kubernetes.io/zone" "host" "kubernetes.io/hostname" -}}
topologySpreadConstraints:
  {{- range $key, $unsatisfiable := .Values.topologySpread }}
  - maxSkew: 1
    topologyKey: {{ get $keys $key }}
    whenUnsatisfiable: {{ $unsatisfiable }}
    # A node that takes no pods is no place to be even with.
    nodeTaintsPolicy: Honor
    # Pods of this revision alone, so that an upgrade ends evenly spread.
    matchLabelKeys: [pod-template-hash]
    labelSelector:
      matchLabels:
        {{- include "rapport-service.selector" (list $ "server") | nindent 8 }}
  {{- end }}
{{- end }}
