# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# A second pod takes its share of the load: clients find it by themselves.

check_scale() {
    load_install
    $passed || return 0
    check "load: a second pod of contacts takes half" - shared
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
    local forward port log=$work/forward
    kubectl -n $load_space port-forward "pod/$1" :9090 >"$log" 2>&1 &
    forward=$!
    wait_until 10 "port-forward" grep -q '^Forwarding from 127' "$log"
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log")
    curl -fsS "http://127.0.0.1:$port/metrics" | awk '/^rpc_server_call_duration_seconds_count/ { all += $NF } END { print all + 0 }'
    kill $forward
}
