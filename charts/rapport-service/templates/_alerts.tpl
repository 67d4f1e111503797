{{/*
The groups of alert rules of a service, made from the list below. Two kinds: the error budget burns (how fast calls fail
that ought not to), and symptoms of what calls do not show. `page` wakes somebody, `ticket` waits for the morning.
Each alert has its chapter in deploy/README.md and its test in deploy/alerts-test.

Tests name every metric here after a running service's; SELECTOR stands for the labels that find it in the store.
*/}}
{{- define "rapport-service.alerts" -}}
{{- $runbook := .Values.monitoring.rules.runbook }}
{{- $budget := divf (subf 100 .Values.monitoring.rules.objective) 100 | printf "%.6g" }}
{{- $selector := include "rapport-service.metrics.selector" . }}
{{- $errors := include "rapport-service.alerts.burns" $budget | fromYamlArray }}
{{- $symptoms := include "rapport-service.alerts.symptoms" . | fromYamlArray }}
{{- range $kind, $alerts := dict "errors" $errors "symptoms" $symptoms }}
- name: rapport.{{ $.Chart.Name }}.{{ $kind }}
  rules:
    {{- range $alerts }}
    - alert: {{ .alert }}
      expr: {{ .expr | replace "SELECTOR" $selector | trim | quote }}
      {{- with .for }}
      for: {{ . }}
      {{- end }}
      labels:
        severity: {{ .severity }}
        service: {{ $.Chart.Name }}
        namespace: {{ $.Release.Namespace }}
      annotations:
        summary: {{ printf "%s: %s" $.Chart.Name .summary | replace "VALUE" "{{ $value | humanize }}" | quote }}
        description: {{ .todo | quote }}
        runbook_url: {{ printf "%s#%s" $runbook (lower .alert) | quote }}
    {{- end }}
{{- end }}
{{- end }}

{{/* What finds the figures of this service of this installation: its namespace and, by the jobLabel, its name. */}}
{{- define "rapport-service.metrics.selector" -}}
namespace="{{ .Release.Namespace }}",job="{{ .Chart.Name }}"
{{- end }}

{{/* Calls that failed although the caller did nothing wrong; refusals and what a caller sent wrongly are none. */}}
{{- define "rapport-service.metrics.errors" -}}
rpc_server_call_duration_seconds_count{SELECTOR,rpc_method!="_OTHER",rpc_response_status_code=~"2|4|13|14|15"}
{{- end }}
{{/* All calls but health, reflection and what is no method. */}}
{{- define "rapport-service.metrics.calls" -}}
rpc_server_call_duration_seconds_count{SELECTOR,rpc_method!="_OTHER"}
{{- end }}

{{- define "rapport-service.alerts.ratio" -}}
sum(rate({{ include "rapport-service.metrics.errors" "" }}[{{ . }}])) / sum(rate({{ include "rapport-service.metrics.calls" "" }}[{{ . }}]))
{{- end }}

{{/* Two windows: the long one says that it matters, the short one that it still happens. Ten failures at least, so
that one of three calls in the night wakes nobody. */}}
{{- define "rapport-service.alerts.burns" -}}
{{- $budget := . }}
{{- range list
  (list "RapportErrorsFast" "page" 14.4 "1h" "5m" "2m" "an error budget of 30 days would be gone in two")
  (list "RapportErrorsSteady" "page" 6.0 "6h" "30m" "15m" "an error budget of 30 days would be gone in five")
  (list "RapportErrorsSlow" "ticket" 1.0 "3d" "6h" "1h" "the error budget will not last its 30 days") }}
- alert: {{ index . 0 }}
  severity: {{ index . 1 }}
  for: {{ index . 5 }}
  expr: |-
    ({{ include "rapport-service.alerts.ratio" (index . 3) }}) > {{ index . 2 }} * {{ $budget }}
      and ({{ include "rapport-service.alerts.ratio" (index . 4) }}) > {{ index . 2 }} * {{ $budget }}
      and sum(increase({{ include "rapport-service.metrics.errors" "" }}[{{ index . 3 }}])) >= 10
  summary: calls fail so often that {{ index . 6 }}
  todo: Look which methods and codes fail on the service's dashboard, then at the database, the broker and the newest release.
{{- end }}
{{- end }}

{{- define "rapport-service.alerts.symptoms" -}}
- alert: RapportAbsent
  severity: page
  for: 5m
  expr: sum(absent(rapport_build_info{SELECTOR}))
  summary: no pod of the service is there to be asked
  todo: Look why no pod runs or is scraped. kubectl get pods, and kubectl describe of the newest.
- alert: RapportRestarts
  severity: ticket
  expr: max(changes(process_start_time_seconds{SELECTOR}[1h])) > 2
  summary: a pod has started VALUE times anew within an hour
  todo: Look at the log of the container before (kubectl logs --previous) and whether its memory limit ended it.
- alert: RapportVersionsMixed
  severity: ticket
  for: 1h
  expr: count(count by (version) (rapport_build_info{SELECTOR})) > 1
  summary: pods of VALUE versions have run side by side for an hour
  todo: Finish the upgrade or take it back. kubectl rollout status says what it waits for.
- alert: RapportSlow
  severity: ticket
  for: 15m
  expr: |-
    1 - sum(rate(rpc_server_call_duration_seconds_bucket{SELECTOR,rpc_method!="_OTHER",le="1"}[10m])) / sum(rate({{ include "rapport-service.metrics.calls" "" }}[10m])) > 0.05
      and sum(increase({{ include "rapport-service.metrics.calls" "" }}[10m])) >= 100
  summary: more than one call in twenty takes longer than a second
  todo: Find the slow methods on the dashboard; look at connections in use, at the database's load and at its slowest statements.
- alert: RapportOverloaded
  severity: page
  for: 5m
  expr: |-
    (sum(rate(rapport_overload_refused_total{SELECTOR}[5m])) + sum(rate(rapport_connections_refused_total{SELECTOR}[5m])) + sum(rate(rapport_database_busy_total{SELECTOR}[5m])))
      / sum(rate({{ include "rapport-service.metrics.calls" "" }}[5m])) > 0.01
  summary: more than one call in a hundred is turned away because the pods are full
  todo: Add pods within the connection budget, or find who calls so much.
- alert: RapportDatabaseAway
  severity: page
  for: 2m
  expr: max(rapport_database_up{SELECTOR}) == 0
  summary: the database answers no pod
  todo: Look at the database server, its certificate and password, and the network policy.
- alert: RapportDatabaseBusy
  severity: ticket
  for: 10m
  expr: sum(increase(rapport_database_busy_total{SELECTOR}[5m])) > 0
  summary: calls wait in vain for a database connection
  todo: Look for slow statements first; then raise database_connections within the connection budget.
- alert: RapportBrokerAway
  severity: page
  for: 5m
  expr: max(rapport_broker_consumers{SELECTOR}) == 0
  summary: no pod has a consumer at the broker
  todo: Look at the broker, its memory and disk alarms, the password and the network policy. Calls go on; events wait.
- alert: RapportEventsWait
  severity: page
  for: 2m
  expr: max(rapport_outbox_oldest_milliseconds{SELECTOR}) > 300000
  summary: the oldest event has waited VALUE ms to be sent
  todo: Look whether the broker takes messages, and in the log for the relay's reasons. Nothing is lost while they wait.
- alert: RapportEventsUnroutable
  severity: page
  for: 10m
  expr: max(rapport_outbox_held_records{SELECTOR}) > 0
  summary: events of VALUE records come back because a queue lost its binding or refuses them
  todo: Look at the bindings and limits of the consuming services' queues; restart a consumer to bind anew.
- alert: RapportConsumerBehind
  severity: page
  for: 5m
  expr: max(rapport_inbox_age_milliseconds{SELECTOR}) > 120000
  summary: the event that is handled now is VALUE ms old, and those behind it wait
  todo: Look in the log for the event that cannot be handled yet, and at the load of the database.
- alert: RapportDeadLetters
  severity: ticket
  for: 5m
  expr: max(rapport_inbox_dead_letters{SELECTOR}) > 0
  summary: VALUE events could not be handled and wait for a decision
  todo: List them, mend the cause, then replay or discard them. Later events of their records wait behind them.
- alert: RapportJobsWait
  severity: ticket
  for: 5m
  expr: max(rapport_jobs_oldest_seconds{SELECTOR}) > 900
  summary: a job has waited VALUE seconds for its turn
  todo: Look whether pods work on jobs (config.jobs), whether this release knows the job's kind, and at the load of the database.
- alert: RapportPolicyOld
  severity: page
  for: 3m
  expr: time() - min(rapport_policy_synced_timestamp_seconds{SELECTOR}) > 60
  summary: a pod decides by a policy that is VALUE seconds old
  todo: Look whether identity answers this service and knows its credential. What was granted or revoked since is not known here.
- alert: RapportCertificateEnds
  severity: page
  for: 15m
  expr: min(rapport_certificate_expiry_timestamp_seconds{SELECTOR} > 0) - time() < 604800
  summary: the certificate that a pod shows ends in VALUE seconds
  todo: Look at the Certificate and its issuer in cert-manager, and in the pod's log why a renewed one was not taken.
- alert: RapportSealLate
  severity: ticket
  for: 5m
  expr: time() - max(rapport_journal_sealed_timestamp_seconds{SELECTOR}) > 900
  summary: the journal was last sealed VALUE seconds ago
  todo: Look in the log why sealing fails. What is not sealed yet is not protected from unseen changes.
- alert: RapportSealBroken
  severity: page
  expr: max(rapport_journal_broken_checkpoint{SELECTOR}) > 0
  summary: rows of the journal are not what checkpoint VALUE sealed
  todo: Treat it as an incident. Keep a copy of the database as it is, and find who could write to it.
- alert: RapportSealUnverified
  severity: ticket
  for: 5m
  expr: time() - max(rapport_journal_verified_timestamp_seconds{SELECTOR}) > 7200
  summary: no part of the seal was compared with the journal for VALUE seconds
  todo: Look in the log why verification fails.
- alert: RapportPanics
  severity: ticket
  expr: sum(increase(rapport_panics_total{SELECTOR}[15m])) > 0
  summary: a handler or a reaction panicked
  todo: Find it in the log (the word is panicked) and report it with a support bundle.
- alert: RapportAccessLogDropped
  severity: ticket
  expr: sum(increase(rapport_access_log_dropped_total{SELECTOR}[15m])) > 0
  summary: about VALUE rows of the access log found no room and are lost
  todo: Look who is refused so often, and whether the database takes writes.
- alert: RapportDenied
  severity: ticket
  for: 10m
  expr: sum(rate(rapport_access_denied_total{SELECTOR}[10m])) > 10
  summary: VALUE calls a second are refused at the door
  todo: Find the subject in the access log; a broken client or somebody who tries.
{{- end }}
