# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# A backup of what the other checks wrote, restored into a new namespace by the shipped scripts.

check_restore() {
    local copy=rapport-test-restored folder=$work/backup
    load_install
    $passed || return 0
    check "restore: something to keep" - restore_written
    $passed || return 0
    check "restore: backup" - deploy/backup "$folder" --namespace $load_space
    $passed || return 0
    namespaces+=($copy)
    check "restore: another installation" - restore_servers $copy
    $passed || return 0
    check "restore: equal checksums" - deploy/restore "$folder" --namespace $copy --replace
    $passed || return 0
    check "restore: seals hold, pods are well" - restore_holds $copy
    check "restore: no event has a second effect" - restore_once $copy
}

restore_written() { load_start restore; load_stop; told ""; events_arrived; }

restore_servers() {
    space "$1"
    helm install rapport "$umbrella" --namespace "$1" --values charts/rapport/profiles/dev.yaml "${values[@]}" "${server_values[@]}" \
        --wait --wait-for-jobs --timeout 150s
}

restore_holds() {
    local service
    kubectl -n "$1" rollout status "${charts[@]/#/deployment/}" --timeout 120s
    for service in "${charts[@]}"; do
        kubectl -n "$1" exec "deploy/$service" -- /usr/bin/rapport --config /etc/rapport/config/rapport.toml check --seal
    done
    all_well "$1"
}

# What was taken in before the backup is known there: copies stay as many, and nothing waits or is dead.
restore_once() {
    local database query="select (select count(*) from kit.inbox), (select count(*) from kit.dead_letter)"
    for database in "${charts[@]//-/_}"; do
        kubectl -n "$1" exec postgres-0 -- psql -U postgres -d $database -Atc "$query"
        [ "$(kubectl -n "$1" exec postgres-0 -- psql -U postgres -d $database -Atc 'select count(*) from kit.dead_letter')" = 0 ]
        [ "$(kubectl -n "$1" exec postgres-0 -- psql -U postgres -d $database -Atc \
            'select count(*) from (select 1 from kit.journal group by tenant_id, record_id, version, ordinal having count(*) > 1) twice')" = 0 ]
    done
}
