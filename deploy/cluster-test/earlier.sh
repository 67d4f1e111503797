# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# From an earlier commit to this one and back, under load: the new schema comes while old pods serve, and old pods serve
# on the new schema. The file `earlier` names the commit; RAPPORT_EARLIER a folder that make-earlier made of it before.

check_earlier() {
    local load_space=rapport-test-earlier earlier=$work/earlier
    if [ -n "${RAPPORT_REGISTRY:-}" ]; then
        row "earlier" SKIPPED 0 "" "images of an earlier commit are made here, and not in RAPPORT_REGISTRY"; return
    fi
    check "earlier: charts and images of it" - earlier_made
    $passed || return 0
    namespaces+=($load_space)
    check "earlier: helm install of it" - earlier_installed
    $passed || return 0
    check "earlier: helm upgrade to this one under load" - earlier_upgraded
    check "earlier: helm rollback under load" - earlier_again
}

earlier_made() {
    local made=${RAPPORT_EARLIER:-}
    # What RAPPORT_BINARIES names is of this commit.
    [ -n "$made" ] || made=$(env -u RAPPORT_BINARIES deploy/cluster-test/make-earlier --profile "$profile")
    ln -s "$(from_caller "$made")" "$earlier"
    ls "$earlier"/charts/rapport-[0-9]*.tgz "$earlier"/images/rapport-*.tar "$earlier/dev.yaml"
    detail "commit $(head -c 12 deploy/cluster-test/earlier)"
}

# With the services that it had.
earlier_services() { basename --suffix .tar --multiple "$earlier"/images/rapport-*.tar | sed 's/^rapport-//'; }
earlier_installed() {
    local options tags
    bring "$earlier"/images/*.tar
    load_caller
    load_servers
    local charts; mapfile -t charts < <(earlier_services)
    mapfile -t options < <(load_values)
    tags=("${charts[@]/#/--set=}")
    helm install rapport "$earlier"/charts/rapport-[0-9]*.tgz --namespace $load_space --values "$earlier/dev.yaml" --set dev.enabled=false \
        "${values[@]}" "${options[@]}" "${tags[@]/%/.image.tag=earlier}" --wait --wait-for-jobs --timeout 150s
    all_run earlier
    detail "${charts[*]}"
}

earlier_upgraded() {
    local applied every=("${charts[@]}") charts
    mapfile -t charts < <(earlier_services) # a service that is new has no journal yet
    migrations >"$work/migrations"
    under_load earlier-upgrade release_of_now
    all_run "$(load_tag)"
    applied=$(migrations | comm -13 "$work/migrations" - | paste -sd ,)
    detail "$(<"$work/detail"); migrations applied: ${applied:-none, for there is no new one}"
}

release_of_now() { local charts=("${every[@]}"); load_release upgrade; }

# The schema stays as it is, and the release before works on it.
earlier_again() {
    migrations >"$work/migrations"
    under_load earlier-rollback helm rollback rapport 1 --namespace $load_space --wait --wait-for-jobs --timeout 150s
    all_run earlier
    migrations | cmp - "$work/migrations"
}

# A line for each migration that a service's database has.
migrations() {
    local database
    for database in $(earlier_services | tr - _); do
        database_asks "$database" "select '$database kit ' || version || ' ' || description from kit._migrations where success
            union all select '$database ' || version || ' ' || description from _sqlx_migrations where success"
    done | sort
}

# all_run TAG: images with that tag, and no other, in all pods of the services that had been there.
all_run() {
    local service images
    for service in $(earlier_services); do
        wait_until 60 "pods that end" no_pod_ends
        images=$(kubectl -n $load_space get pods -l "app.kubernetes.io/name=$service,app.kubernetes.io/component=server" \
            -o jsonpath='{range .items[*]}{.spec.containers[0].image}{"\n"}{end}' | sort -u)
        echo "$images"
        [[ $images =~ ^[^[:space:]]*/rapport-$service:$1$ ]] # one line, of that image
    done
}
