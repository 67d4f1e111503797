{{/*
Nothing comes in or goes out but what is written here: who calls whom is in _calls.tpl, where databases, broker and the
rest live is in the values. Each kind of pod has a policy of its own, so that none has more than it needs.
*/}}
{{- define "rapport-service.network" -}}
{{- if .Values.networkPolicy.enabled -}}
{{- $policy := .Values.networkPolicy -}}
{{- $name := include "rapport-service.fullname" . -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "rapport-service.selector" (list . "server") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress:
    - from:
        {{- range (include "rapport-service.callers" . | fromYaml).of }}
        {{- include "rapport-service.peer" . | nindent 8 }}
        {{- end }}
        - podSelector:
            matchLabels:
              {{- include "rapport-service.selector" (list . "test") | nindent 14 }}
        {{- with $policy.extraIngress }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports: [{port: 8080, protocol: TCP}]
    {{- with $policy.prometheus }}
    - from:
        {{- toYaml . | nindent 8 }}
      ports: [{port: 9090, protocol: TCP}]
    {{- end }}
  egress:
    {{- include "rapport-service.dns" . | nindent 4 }}
    {{- include "rapport-service.to" $policy.database | nindent 4 }}
    {{- include "rapport-service.to" $policy.broker | nindent 4 }}
    {{- with (include "rapport-service.callees" . | fromYaml).of }}
    - to:
        {{- range . }}
        {{- include "rapport-service.peer" . | nindent 8 }}
        {{- end }}
      ports: [{port: 8080, protocol: TCP}]
    {{- end }}
    {{- with .Values.config.otlp }}
    {{- $port := regexFind ":[0-9]+" (urlParse .).host | trimPrefix ":" | default "4317" | int }}
    {{- include "rapport-service.to" (dict "peers" $policy.otlp "port" $port) | nindent 4 }}
    {{- end }}
    {{- with $policy.extraEgress }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "rapport-service.metadata" (list . "migrate" (printf "%s-migrate" $name)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "rapport-service.selector" (list . "migrate") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "rapport-service.dns" . | nindent 4 }}
    {{- include "rapport-service.to" $policy.database | nindent 4 }}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  {{- include "rapport-service.metadata" (list . "test" (printf "%s-test" $name)) | nindent 2 }}
spec:
  podSelector:
    matchLabels:
      {{- include "rapport-service.selector" (list . "test") | nindent 6 }}
  policyTypes: [Ingress, Egress]
  ingress: []
  egress:
    {{- include "rapport-service.dns" . | nindent 4 }}
    - to:
        - podSelector:
            matchLabels:
              {{- include "rapport-service.selector" (list . "server") | nindent 14 }}
      ports: [{port: 8080, protocol: TCP}]
{{- end }}
{{- end }}

{{/* The pods of a service by its name, in whatever release of this namespace it is. */}}
{{- define "rapport-service.peer" -}}
- podSelector:
    matchLabels:
      app.kubernetes.io/name: {{ . }}
      app.kubernetes.io/component: server
{{- end }}

{{- define "rapport-service.dns" -}}
{{- $port := .Values.networkPolicy.dnsPort -}}
{{- with .Values.networkPolicy.dns -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports: [{port: {{ $port }}, protocol: UDP}, {port: {{ $port }}, protocol: TCP}]
{{- end }}
{{- end }}

{{/* A rule of egress to (dict "peers" list "port" number); without peers there is none. */}}
{{- define "rapport-service.to" -}}
{{- with .peers -}}
- to:
    {{- toYaml . | nindent 4 }}
  ports: [{port: {{ $.port }}, protocol: TCP}]
{{- end }}
{{- end }}
