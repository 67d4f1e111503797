{{/*
Grafana's JSON of one dashboard, for a dict of name, title, selector, namespace and rows. Three panels stand beside each
other.
*/}}
{{- define "rapport-service.dashboard" -}}
{{- $ := . }}
{{- $source := dict "type" "prometheus" "uid" "${datasource}" }}
{{- $panels := list }}
{{- $y := 0 }}
{{- $id := 0 }}
{{- range .rows }}
{{- $id = add1 $id }}
{{- $panels = append $panels (dict "type" "row" "id" $id "title" .title "collapsed" false "panels" list "gridPos" (dict "h" 1 "w" 24 "x" 0 "y" $y)) }}
{{- $y = add1 $y }}
{{- range $place, $panel := .panels }}
{{- $id = add1 $id }}
{{- $targets := list }}
{{- range $number, $query := .queries }}
{{- $targets = append $targets (dict "refId" (index (list "A" "B" "C" "D" "E") $number) "datasource" $source
    "expr" (replace "SELECTOR" $.selector $query.expr) "legendFormat" (regexReplaceAll "<([a-z_]+)>" $query.legend "{{${1}}}")) }}
{{- end }}
{{- $at := dict "h" 8 "w" 8 "x" (mul 8 (mod $place 3)) "y" (add $y (mul 8 (div $place 3))) }}
{{- $defaults := dict "unit" .unit "min" 0 "custom" (dict "fillOpacity" 10 "showPoints" "never") }}
{{- $panels = append $panels (dict "type" "timeseries" "id" $id "title" .title "datasource" $source "gridPos" $at "targets" $targets
    "fieldConfig" (dict "defaults" $defaults "overrides" list)
    "options" (dict "legend" (dict "displayMode" "list" "placement" "bottom") "tooltip" (dict "mode" "multi" "sort" "desc"))) }}
{{- end }}
{{- $y = add $y (mul 8 (div (add 2 (len .panels)) 3)) }}
{{- end }}
{{- $variables := list
    (dict "name" "datasource" "label" "Metrics" "type" "datasource" "query" "prometheus")
    (dict "name" "namespace" "label" "Installation" "type" "query" "datasource" $source "refresh" 2 "sort" 1
      "query" (dict "query" "label_values(rapport_build_info, namespace)" "refId" "namespace")
      "current" (dict "text" .namespace "value" .namespace)) }}
{{- dict "uid" (printf "rapport-%s" .name) "title" .title "tags" (list "rapport") "schemaVersion" 39 "editable" false "refresh" "30s"
    "time" (dict "from" "now-6h" "to" "now") "timezone" "utc" "panels" $panels "templating" (dict "list" $variables) | toPrettyJson }}
{{- end }}
