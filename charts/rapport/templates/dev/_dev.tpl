{{/* Labels of a development server: (dict "name" NAME "root" $) */}}
{{- define "rapport.dev.labels" -}}
{{ include "rapport.dev.selector" . }}
app.kubernetes.io/component: development
app.kubernetes.io/part-of: rapport
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
{{- end }}

{{- define "rapport.dev.selector" -}}
app.kubernetes.io/name: {{ .name }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
{{- end }}

{{/* Lets pods of this installation in at one port, and nothing out: (dict "name" NAME "port" PORT "root" $) */}}
{{- define "rapport.dev.networkpolicy" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ .name }}
  namespace: {{ .root.Release.Namespace }}
  labels: {{- include "rapport.dev.labels" . | nindent 4 }}
spec:
  podSelector:
    matchLabels: {{- include "rapport.dev.selector" . | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        - podSelector:
            matchLabels:
              app.kubernetes.io/part-of: rapport
      ports:
        - {port: {{ .port }}, protocol: TCP}
  egress: []
{{- end }}

{{/* The restricted Pod Security level. */}}
{{- define "rapport.dev.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "rapport.dev.securityContext" -}}
readOnlyRootFilesystem: true
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end }}
