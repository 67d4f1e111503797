# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# A second pod takes its share of the load: clients find it by themselves. How many there are follows the load.

check_scale() {
    load_install
    $passed || return 0
    check "load: a second pod of contacts takes half" - shared
    if kubectl get --raw /apis/metrics.k8s.io/v1beta1 >/dev/null 2>&1; then
        check "load: the autoscaler adds and removes pods" - autoscaled
    else row "load: the autoscaler adds and removes pods" SKIPPED 0 "" "the cluster has no metrics-server"; fi
}

shared() {
    local pods=() before=() after=() pod i calls=() all=0
    kubectl -n $load_space scale deployment contacts --replicas 1
    settled
    load_start share
    kubectl -n $load_space scale deployment contacts --replicas 2
    kubectl -n $load_space wait deployment contacts --for 'jsonpath={.status.readyReplicas}=2' --timeout 60s
    sleep 10
    mapfile -t pods < <(kubectl -n $load_space get pods -l app.kubernetes.io/name=contacts,app.kubernetes.io/component=server -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}')
    for pod in "${pods[@]}"; do before+=("$(calls_of "$pod")"); done
    sleep 5
    for pod in "${pods[@]}"; do after+=("$(calls_of "$pod")"); done
    load_stop
    for i in "${!pods[@]}"; do calls+=($((after[i] - before[i]))); all=$((all + after[i] - before[i])); done
    detail "calls in 5 s, 10 s after it was Ready: ${calls[*]}; $(figure failed) failed"
    [ ${#calls[@]} = 2 ]
    [ "$(figure failed)" = 0 ]
    for i in 0 1; do
        [ $((calls[i] * 10)) -ge $((all * 4)) ]
        [ $((calls[i] * 10)) -le $((all * 6)) ]
    done
}

# Calls that a pod has answered since its start.
calls_of() {
    at_pod "$1" 9090 metrics | awk '/^rpc_server_call_duration_seconds_count/ { all += $NF } END { print all + 0 }'
}

# The cluster's own autoscaler, by the chart's values: more pods within minutes of the load's begin, two again after its
# end. Its goal is one that this load exceeds with two pods, and pods at rest do not.
autoscaled() {
    local scaling=contacts.autoscaling goal=20 begun out busy most
    load_release upgrade --set "$scaling.enabled=true,$scaling.min=2,$scaling.max=4,$scaling.cpuPercent=$goal,$scaling.scaleDownSeconds=15"
    wait_until 120 "two pods at rest" at_rest $goal
    load_start autoscale
    begun=$EPOCHSECONDS
    wait_until 180 "a third pod" ready_pods -ge 3
    out=$((EPOCHSECONDS - begun)) busy=$(utilization)
    sleep 20 # calls go to the new pods too, and none may fail
    most=$(kubectl -n $load_space get deployment contacts -o 'jsonpath={.status.readyReplicas}')
    load_stop
    begun=$EPOCHSECONDS
    wait_until 240 "two pods again" ready_pods -eq 2
    told "; a third pod after $out s at $busy % of the request, $most pods at most, two again $((EPOCHSECONDS - begun)) s after the end"
    events_arrived
    [ "$(figure failed)" = 0 ]
    [ "$(figure lost)" = 0 ]
    load_release upgrade # a fixed number again
}
ready_pods() { # -ge|-eq NUMBER
    local ready
    ready=$(kubectl -n $load_space get deployment contacts -o 'jsonpath={.status.readyReplicas}') && test "${ready:-0}" "$@"
}
# What the autoscaler sees: CPU in per cent of the request, over all pods; nothing until it has seen any.
utilization() { kubectl -n $load_space get hpa contacts -o 'jsonpath={.status.currentMetrics[0].resource.current.averageUtilization}'; }
at_rest() { # PER-CENT
    local percent
    ready_pods -eq 2 && percent=$(utilization) && [ -n "$percent" ] && [ "$percent" -lt "$1" ]
}
