{{/*
Dashboards for Grafana, made from the short descriptions below: rows of panels, each a title, a unit and queries with
their legends, in which <label> is a label's value. SELECTOR stands for the labels that find the service; the namespace
can be chosen on the dashboard.
*/}}
{{- define "rapport-service.dashboards" -}}
{{- $selector := printf "namespace=\"$namespace\",job=\"%s\"" .Chart.Name }}
{{ include "rapport-service.fullname" . }}.json: |
  {{- include "rapport-service.dashboard" (dict "name" .Chart.Name "title" (printf "Rapport: %s" .Chart.Name) "selector" $selector
      "namespace" .Release.Namespace "rows" (include "rapport-service.dashboard.service" . | fromYamlArray)) | nindent 2 }}
{{- end }}

{{/* All services of an installation on one page, for the umbrella chart. */}}
{{- define "rapport-service.dashboards.overview" -}}
overview.json: |
  {{- include "rapport-service.dashboard" (dict "name" "overview" "title" "Rapport: overview" "selector" "namespace=\"$namespace\""
      "namespace" .Release.Namespace "rows" (include "rapport-service.dashboard.overview" . | fromYamlArray)) | nindent 2 }}
{{- end }}

{{/* What failed, of all calls; see the alerts. */}}
{{- define "rapport-service.dashboard.share" -}}
sum by (job) (rate({{ include "rapport-service.metrics.errors" "" }}[$__rate_interval])) / sum by (job) (rate({{ include "rapport-service.metrics.calls" "" }}[$__rate_interval]))
{{- end }}
{{- define "rapport-service.dashboard.quantile" -}}
histogram_quantile({{ index . 0 }}, sum by ({{ index . 1 }}, le) (rate({{ index . 2 }}{SELECTOR{{ index . 3 }}}[$__rate_interval])))
{{- end }}

{{- define "rapport-service.dashboard.service" -}}
{{- $calls := include "rapport-service.metrics.calls" "" }}
{{- $duration := list "rpc_method" "rpc_server_call_duration_seconds_bucket" ",rpc_method!=\"_OTHER\"" }}
- title: Calls
  panels:
    - title: Calls by method
      unit: reqps
      queries: [{expr: 'sum by (rpc_method) (rate({{ $calls }}[$__rate_interval]))', legend: <rpc_method>}]
    - title: Failures and refusals by method and code
      unit: reqps
      queries: [{expr: 'sum by (rpc_method, rpc_response_status_code) (rate({{ $calls | replace "\"_OTHER\"" "\"_OTHER\",rpc_response_status_code!=\"0\"" }}[$__rate_interval]))', legend: <rpc_response_status_code> <rpc_method>}]
    - title: Share that failed by our fault
      unit: percentunit
      queries: [{expr: '{{ include "rapport-service.dashboard.share" "" }}', legend: failed}]
    - title: Duration, 99 of 100 calls below
      unit: s
      queries: [{expr: '{{ include "rapport-service.dashboard.quantile" (prepend $duration "0.99") }}', legend: <rpc_method>}]
    - title: Duration, half of the calls below
      unit: s
      queries: [{expr: '{{ include "rapport-service.dashboard.quantile" (prepend $duration "0.5") }}', legend: <rpc_method>}]
    - title: Turned away
      unit: reqps
      queries:
        - {expr: 'sum(rate(rapport_overload_refused_total{SELECTOR}[$__rate_interval]))', legend: calls beyond the limit}
        - {expr: 'sum(rate(rapport_connections_refused_total{SELECTOR}[$__rate_interval]))', legend: connections beyond the limit}
        - {expr: 'sum(rate(rapport_database_busy_total{SELECTOR}[$__rate_interval]))', legend: no database connection}
        - {expr: 'sum(rate(rapport_access_denied_total{SELECTOR}[$__rate_interval]))', legend: denied at the door}
        - {expr: 'sum(rate(rapport_rpc_repeated_total{SELECTOR}[$__rate_interval]))', legend: own calls sent again}
- title: Events out
  panels:
    - title: Oldest event that waits
      unit: ms
      queries: [{expr: 'max(rapport_outbox_oldest_milliseconds{SELECTOR})', legend: age}]
    - title: Events that wait
      unit: short
      queries:
        - {expr: 'max(rapport_outbox_waiting{SELECTOR})', legend: "waiting, counted to 10,000"}
        - {expr: 'sum(rapport_outbox_held_records{SELECTOR})', legend: records held}
        - {expr: 'max(rapport_outbox_unclaimed_keys{SELECTOR})', legend: keys that nobody asked for}
    - title: Events sent
      unit: cps
      queries:
        - {expr: 'sum(rate(rapport_outbox_relayed_total{SELECTOR}[$__rate_interval]))', legend: confirmed}
        - {expr: 'sum(rate(rapport_outbox_unclaimed_total{SELECTOR}[$__rate_interval]))', legend: wanted by nobody}
        - {expr: 'sum(rate(rapport_outbox_replayed_total{SELECTOR}[$__rate_interval]))', legend: sent to a first consumer}
        - {expr: 'sum(rate(rapport_outbox_unroutable_total{SELECTOR}[$__rate_interval]))', legend: came back}
- title: Events in
  panels:
    - title: Age of the event at hand
      unit: ms
      queries: [{expr: 'max by (partition) (rapport_inbox_age_milliseconds{SELECTOR})', legend: <partition>}]
    - title: From the change to its effect here
      unit: s
      queries:
        - {expr: '{{ include "rapport-service.dashboard.quantile" (list "0.99" "job" "rapport_inbox_delay_seconds_bucket" "") }}', legend: 99 of 100 below}
        - {expr: '{{ include "rapport-service.dashboard.quantile" (list "0.5" "job" "rapport_inbox_delay_seconds_bucket" "") }}', legend: half below}
    - title: Events taken in
      unit: cps
      queries:
        - {expr: 'sum(rate(rapport_inbox_delay_seconds_count{SELECTOR}[$__rate_interval]))', legend: taken in}
        - {expr: 'sum(rate(rapport_inbox_duplicates_total{SELECTOR}[$__rate_interval]))', legend: came again}
        - {expr: 'sum(rate(rapport_inbox_dead_total{SELECTOR}[$__rate_interval]))', legend: dead}
    - title: Dead letters
      unit: short
      queries: [{expr: 'max(rapport_inbox_dead_letters{SELECTOR})', legend: wait for a decision}]
    - title: Oldest job that waits
      unit: s
      queries: [{expr: 'max(rapport_jobs_oldest_seconds{SELECTOR})', legend: age}]
    - title: Consumers at the broker
      unit: short
      queries: [{expr: 'sum by (pod) (rapport_broker_consumers{SELECTOR})', legend: <pod>}]
- title: Database and journal
  panels:
    - title: Database answers
      unit: bool
      queries: [{expr: 'min by (pod) (rapport_database_up{SELECTOR})', legend: <pod>}]
    - title: Connections
      unit: short
      queries:
        - {expr: 'sum by (role, state) (rapport_database_connections{SELECTOR})', legend: <role> <state>}
    - title: Seconds since the seal
      unit: s
      queries:
        - {expr: 'time() - max(rapport_journal_sealed_timestamp_seconds{SELECTOR})', legend: sealed}
        - {expr: 'time() - max(rapport_journal_verified_timestamp_seconds{SELECTOR})', legend: verified}
    - title: Broken checkpoint
      unit: short
      queries: [{expr: 'max(rapport_journal_broken_checkpoint{SELECTOR})', legend: "0: none"}]
    - title: Schema
      unit: short
      queries: [{expr: 'max by (owner) (rapport_schema_level{SELECTOR})', legend: <owner>}]
- title: Pods
  panels:
    - title: Versions
      unit: short
      queries: [{expr: 'count by (version) (rapport_build_info{SELECTOR})', legend: <version>}]
    - title: Memory
      unit: bytes
      queries: [{expr: 'max by (pod) (process_resident_memory_bytes{SELECTOR})', legend: <pod>}]
    - title: Processor
      unit: none
      queries: [{expr: 'sum by (pod) (rate(process_cpu_seconds_total{SELECTOR}[$__rate_interval]))', legend: <pod>}]
    - title: Open files and connections
      unit: short
      queries: [{expr: 'max by (pod) (process_open_fds{SELECTOR})', legend: <pod>}]
    - title: Hours since the start
      unit: h
      queries: [{expr: '(time() - max by (pod) (process_start_time_seconds{SELECTOR})) / 3600', legend: <pod>}]
    - title: Age of the policy
      unit: s
      queries: [{expr: 'time() - min by (pod) (rapport_policy_synced_timestamp_seconds{SELECTOR})', legend: <pod>}]
    - title: Panics and rows lost
      unit: short
      queries:
        - {expr: 'sum(increase(rapport_panics_total{SELECTOR}[$__rate_interval]))', legend: panics}
        - {expr: 'sum(increase(rapport_access_log_dropped_total{SELECTOR}[$__rate_interval]))', legend: rows of the access log lost}
    - title: Password hashes
      unit: cps
      queries: [{expr: 'sum(rate(rapport_password_hashes_total{SELECTOR}[$__rate_interval]))', legend: hashes}]
{{- end }}

{{- define "rapport-service.dashboard.overview" -}}
- title: People
  panels:
    - title: Calls
      unit: reqps
      queries: [{expr: 'sum by (job) (rate({{ include "rapport-service.metrics.calls" "" }}[$__rate_interval]))', legend: <job>}]
    - title: Share that failed by our fault
      unit: percentunit
      queries: [{expr: '{{ include "rapport-service.dashboard.share" "" }}', legend: <job>}]
    - title: Duration, 99 of 100 calls below
      unit: s
      queries: [{expr: '{{ include "rapport-service.dashboard.quantile" (list "0.99" "job" "rpc_server_call_duration_seconds_bucket" ",rpc_method!=\"_OTHER\"") }}', legend: <job>}]
- title: Events
  panels:
    - title: Oldest event that waits
      unit: ms
      queries: [{expr: 'max by (job) (rapport_outbox_oldest_milliseconds{SELECTOR})', legend: <job>}]
    - title: From the change to its effect
      unit: s
      queries: [{expr: '{{ include "rapport-service.dashboard.quantile" (list "0.99" "job" "rapport_inbox_delay_seconds_bucket" "") }}', legend: <job>}]
    - title: Dead letters
      unit: short
      queries: [{expr: 'max by (job) (rapport_inbox_dead_letters{SELECTOR})', legend: <job>}]
- title: Machines
  panels:
    - title: Pods
      unit: short
      queries: [{expr: 'count by (job, version) (rapport_build_info{SELECTOR})', legend: <job> <version>}]
    - title: Memory
      unit: bytes
      queries: [{expr: 'sum by (job) (process_resident_memory_bytes{SELECTOR} and on (job, pod) rapport_build_info{SELECTOR})', legend: <job>}]
    - title: Processor
      unit: none
      queries: [{expr: 'sum by (job) (rate(process_cpu_seconds_total{SELECTOR}[$__rate_interval]) and on (job, pod) rapport_build_info{SELECTOR})', legend: <job>}]
    - title: Database answers
      unit: bool
      queries: [{expr: 'max by (job) (rapport_database_up{SELECTOR})', legend: <job>}]
    - title: Age of the policy
      unit: s
      queries: [{expr: 'time() - min by (job) (rapport_policy_synced_timestamp_seconds{SELECTOR})', legend: <job>}]
    - title: Broken checkpoint
      unit: short
      queries: [{expr: 'max by (job) (rapport_journal_broken_checkpoint{SELECTOR})', legend: <job>}]
{{- end }}
