# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# What operators do on any day, under load: no call fails, no acknowledged write and no event is lost.

check_upgrade() {
    load_install
    $passed || return 0
    check "load: nothing happens" - under_load nothing sleep 5
    check "load: helm upgrade to another image" - under_load upgrade upgraded
    check "load: helm rollback" - under_load rollback helm rollback rapport 1 --namespace $load_space --wait --wait-for-jobs --timeout 150s
    check "load: drain of a node" - under_load drain drained
    check "load: 2 to 4 to 1 to 2 pods" - under_load scale scaled
    check "load: a pod of each service deleted" - under_load delete deleted
}

upgraded() {
    local images next=("${charts[@]/#/--set=}")
    load_release upgrade "${next[@]/%/.image.tag=next}"
    images=$(kubectl -n $load_space get pods -l app.kubernetes.io/component=server -o jsonpath='{.items[*].spec.containers[*].image}')
    echo "$images"
    [[ $images = *:next* ]]
}

# Of the services' pods alone: the servers' volumes are on their node, and what knocks for the network check has nobody to make it anew.
drained() {
    local node; node=$(workers | tail -n 1)
    cordon "$node"
    kubectl drain "$node" --pod-selector 'app.kubernetes.io/component=server,app.kubernetes.io/part-of=rapport,!knocks' --ignore-daemonsets --timeout 120s
    settled
    uncordon
}

scaled() {
    local replicas
    for replicas in 4 1 2; do
        kubectl -n $load_space scale deployment "${charts[@]}" --replicas $replicas
        settled
    done
}

deleted() {
    local service
    for service in "${charts[@]}"; do
        kubectl -n $load_space delete --wait=false "$(kubectl -n $load_space get pods -l "app.kubernetes.io/name=$service,app.kubernetes.io/component=server" -o name | head -n 1)"
    done
    settled
}
