{{/* Never with one pod: a budget of one of one would not protect, and one of none would block every drain. */}}
{{- define "rapport-service.disruption" -}}
{{- if gt (include "rapport-service.least" . | int) 1 -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  {{- include "rapport-service.metadata" (list . "server" (include "rapport-service.fullname" .)) | nindent 2 }}
spec:
  maxUnavailable: 1
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "rapport-service.selector" (list . "server") | nindent 6 }}
{{- end }}
{{- end }}

{{/* On CPU alone by the HorizontalPodAutoscaler, or on CPU and queues by KEDA, which makes one of its own. */}}
{{- define "rapport-service.scaling" -}}
{{- $name := include "rapport-service.fullname" . -}}
{{- $keda := .Values.keda | default dict -}}
{{- if and .Values.autoscaling.enabled (not $keda.enabled) -}}
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
spec:
  scaleTargetRef:
    apiVersion: apps/v1
    kind: Deployment
    name: {{ $name }}
  minReplicas: {{ .Values.autoscaling.min }}
  maxReplicas: {{ .Values.autoscaling.max }}
  metrics:
    - type: Resource
      resource:
        name: cpu
        target:
          type: Utilization
          averageUtilization: {{ .Values.autoscaling.cpuPercent }}
  behavior:
    scaleDown:
      stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
{{- else if .Values.autoscaling.enabled -}}
apiVersion: keda.sh/v1alpha1
kind: TriggerAuthentication
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
spec:
  secretTargetRef:
    - parameter: host
      name: {{ .Values.secrets.existingSecret | default (printf "%s-secrets" $name) }}
      key: {{ $keda.secretKey }}
---
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
spec:
  scaleTargetRef:
    name: {{ $name }}
  minReplicaCount: {{ .Values.autoscaling.min }}
  maxReplicaCount: {{ .Values.autoscaling.max }}
  advanced:
    horizontalPodAutoscalerConfig:
      behavior:
        scaleDown:
          stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownSeconds }}
  triggers:
    - type: cpu
      metricType: Utilization
      metadata:
        value: {{ .Values.autoscaling.cpuPercent | quote }}
    - type: rabbitmq
      authenticationRef:
        name: {{ $name }}
      metadata:
        # Over HTTP unacknowledged messages count too; over AMQP busy pods would be scaled away.
        protocol: http
        mode: QueueLength
        value: {{ $keda.messages | quote }}
        queueName: {{ printf "^%s%s\\.p[0-9]+$" (regexQuoteMeta .Values.config.broker_prefix) (.Chart.Name | replace "-" "_") | quote }}
        useRegex: "true"
        operation: sum
        pageSize: "100"
{{- end }}
{{- end }}
