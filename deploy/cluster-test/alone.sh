# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Each service's own chart with nothing but its database and broker beside it.

check_alone() {
    local service
    for service in "${charts[@]}"; do
        local space=rapport-test-$service
        namespaces+=("$space")
        check "$service alone: servers" - alone_servers "$space"
        $passed || continue
        check "$service alone: helm install, to Ready" 60 helm install "$service" "$packages/$service"-[0-9]*.tgz --namespace "$space" \
            --values deploy/cluster-test/alone.yaml "${values[@]}" --wait --wait-for-jobs --timeout 120s
        $passed || continue
        check "$service alone: answers" - alone_answers "$space" "$service"
    done
}

# The umbrella with no service in it.
alone_servers() {
    local running off=("${charts[@]/#/--set=}")
    space "$1"
    helm install servers "$umbrella" --namespace "$1" --values charts/rapport/profiles/dev.yaml "${server_values[@]}" "${off[@]/%/.enabled=false}" --wait --timeout 120s
    running=$(kubectl -n "$1" get deployment -o name)
    [ -z "$running" ] || { echo "not the servers alone: $running"; return 1; }
}

alone_answers() {
    local running
    helm test "$2" --namespace "$1" --timeout 120s
    running=$(kubectl -n "$1" get deployment -o name)
    [ "$running" = "deployment.apps/$2" ] || { echo "not alone: $running"; return 1; }
    all_well "$1"
}
