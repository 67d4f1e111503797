{{/*
Two Services: one with an address for gateways, tests and people, and a headless one, whose name gives the address of
every ready pod, for clients that balance by themselves and for Prometheus.
*/}}
{{- define "rapport-service.services" -}}
{{- $name := include "rapport-service.fullname" . -}}
apiVersion: v1
kind: Service
metadata:
  {{- include "rapport-service.metadata" (list . "server" $name) | nindent 2 }}
  {{- with .Values.service.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  type: ClusterIP
  selector:
    {{- include "rapport-service.selector" (list . "server") | nindent 4 }}
  ports:
    - name: grpc
      port: 8080
      targetPort: grpc
      appProtocol: {{ ternary "https" "kubernetes.io/h2c" .Values.certificate.enabled }}
---
apiVersion: v1
kind: Service
metadata:
  {{- include "rapport-service.metadata" (list . "server" (printf "%s-headless" $name)) | nindent 2 }}
spec:
  type: ClusterIP
  clusterIP: None
  selector:
    {{- include "rapport-service.selector" (list . "server") | nindent 4 }}
  ports:
    - name: grpc
      port: 8080
      targetPort: grpc
      appProtocol: {{ ternary "https" "kubernetes.io/h2c" .Values.certificate.enabled }}
    - name: http-metrics
      port: 9090
      targetPort: http-metrics
{{- end }}

{{- define "rapport-service.exposure" -}}
{{- $name := include "rapport-service.fullname" . }}
{{- with .Values.grpcRoute }}
{{- if .enabled }}
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata:
  {{- include "rapport-service.metadata" (list $ "server" $name) | nindent 2 }}
spec:
  parentRefs:
    {{- toYaml .parentRefs | nindent 4 }}
  {{- with .hostnames }}
  hostnames:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  rules:
    - backendRefs:
        - name: {{ $name }}
          port: 8080
{{- end }}
{{- end }}
{{- with .Values.ingress }}
{{- if .enabled }}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  {{- include "rapport-service.metadata" (list $ "server" $name) | nindent 2 }}
  {{- with .annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with .className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with .tlsSecret }}
  tls:
    - secretName: {{ . }}
      hosts: [{{ $.Values.ingress.host | quote }}]
  {{- end }}
  rules:
    - host: {{ .host | quote }}
      http:
        paths:
          - path: /
            pathType: Prefix
            backend:
              service:
                name: {{ $name }}
                port:
                  name: grpc
{{- end }}
{{- end }}
{{- end }}

{{/* Good for both sides of a call: every service is a client and a server. */}}
{{- define "rapport-service.certificate" -}}
{{- if and .Values.certificate.enabled (not .Values.certificate.existingSecret) -}}
{{- $name := include "rapport-service.fullname" . -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  {{- include "rapport-service.metadata" (list . "server" (printf "%s-tls" $name)) | nindent 2 }}
spec:
  secretName: {{ $name }}-tls
  duration: 2160h
  renewBefore: 720h
  privateKey:
    algorithm: ECDSA
    size: 256
    rotationPolicy: Always
  usages: [server auth, client auth]
  commonName: {{ .Chart.Name }}
  dnsNames:
    {{- range list $name (printf "%s-headless" $name) }}
    - {{ . }}
    - {{ . }}.{{ $.Release.Namespace }}.svc
    - {{ . }}.{{ $.Release.Namespace }}.svc.{{ $.Values.certificate.clusterDomain }}
    {{- end }}
  issuerRef:
    {{- toYaml .Values.certificate.issuer | nindent 4 }}
{{- end }}
{{- end }}
