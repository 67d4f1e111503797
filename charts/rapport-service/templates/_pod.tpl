{{/* What every pod of a service has in common: the restricted profile, no token, no way to write. */}}
{{- define "rapport-service.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
serviceAccountName: {{ include "rapport-service.account" . }}
{{- with concat (dig "imagePullSecrets" list (.Values.global | default dict)) .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* What every container has in common, for (list context resources). */}}
{{- define "rapport-service.container" -}}
{{- $ := index . 0 -}}
{{- $resources := index . 1 -}}
image: {{ include "rapport-service.image" $ | quote }}
imagePullPolicy: {{ $.Values.image.pullPolicy }}
terminationMessagePolicy: FallbackToLogsOnError
{{- with $.Values.env }}
env:
  {{- range $name, $value := . }}
  - name: {{ $name }}
    value: {{ $value | quote }}
  {{- end }}
{{- end }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  runAsNonRoot: true
  capabilities:
    drop: [ALL]
resources:
  requests:
    cpu: {{ $resources.requests.cpu | quote }}
    memory: {{ $resources.requests.memory | quote }}
  limits:
    memory: {{ $resources.limits.memory | quote }}
    {{- with $resources.limits.cpu }}
    cpu: {{ . | quote }}
    {{- end }}
{{- end }}
