# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# What nobody announces, under load: no acknowledged write is lost, and calls fail only for a moment. These reach into
# the machines and need the cluster folder.

check_kills() {
    if ! own_cluster; then row "kills" SKIPPED 0 "" "only the cluster folder's nodes can be killed"; return; fi
    load_install
    $passed || return 0
    check "load: a container of each killed with -9" - killed
    check "load: a node without power" - without_power
}

killed() {
    load_start killed
    local service
    for service in "${charts[@]}"; do kill_container "$service"; done
    sleep 5
    load_stop
    only_within 1
}

# kill_container SERVICE: the process of one of its pods, seen from its node.
kill_container() {
    local node id
    read -r node id < <(kubectl -n $load_space get pods -l "app.kubernetes.io/name=$1,app.kubernetes.io/component=server" \
        -o jsonpath='{.items[0].spec.nodeName}{" "}{.items[0].status.containerStatuses[0].containerID}{"\n"}')
    echo "kill -9 of $1 on $node: $id"
    "$CLUSTER" node exec "$node" ctr -n k8s.io task kill -s SIGKILL "${id#containerd://}"
}

# only_within SECONDS: between the first call that failed and the last.
only_within() {
    local span
    span=$(awk 'match($0, /"after":[0-9.]+/) { at = substr($0, RSTART + 8, RLENGTH - 8) + 0; if (!n++) first = at; last = at }
        END { printf "%.2f", n ? last - first : 0 }' <(grep '"failed":"' "$load_log" || :))
    told ", failures within $span s"
    events_arrived
    [ "$(figure lost)" = 0 ] && [ "$(figure unanswered)" = 0 ] && awk -v span="$span" -v most="$1" 'BEGIN { exit !(span <= most) }'
}

# The node's pods are gone at once; the cluster notices after a while, and the clients must not wait for it.
without_power() {
    local node; node=$(workers | tail -n 1)
    load_start power
    "$CLUSTER" node kill "$node"
    trap '"$CLUSTER" node start "$node"' EXIT # whatever becomes of the load
    sleep 30
    load_stop
    trap - EXIT
    "$CLUSTER" node start "$node"
    kubectl wait node "$node" --for condition=Ready --timeout 90s
    kubectl -n $load_space rollout status "${charts[@]/#/deployment/}" --timeout 120s
    only_within 25
}
