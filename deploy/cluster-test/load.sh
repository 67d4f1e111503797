# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Calls from inside the cluster while something is done to it: 200 a second by the kit's client, open loop, over all
# services, with every acknowledged write read back in the end and every event looked for (events.sh).

load_rate=200
load_space=rapport-test-load

# Two pods of each service, the servers together on the first node, and the caller allowed in. Done once; `passed` says
# whether it is there.
load_install() {
    passed=true
    [ -z "${load_installed:-}" ] || return 0
    namespaces+=($load_space)
    check "load: install with two pods of each" - load_installation
    if $passed; then load_installed=yes; fi
}
load_caller='[{"podSelector":{"matchLabels":{"app.kubernetes.io/name":"load"}}}]'
load_values() {
    local service
    for service in "${charts[@]}"; do
        printf '%s\n' --set "$service.replicas=2" --set-json "$service.networkPolicy.extraIngress=$load_caller"
    done
}
# load_release install|upgrade OPTION...: the services as these checks have them, with OPTIONs besides.
load_release() {
    local command=$1 options; shift
    mapfile -t options < <(load_values)
    helm "$command" rapport "$umbrella" --namespace $load_space --values charts/rapport/profiles/dev.yaml --set dev.enabled=false \
        "${values[@]}" "${options[@]}" "$@" --wait --wait-for-jobs --timeout 150s
}
load_installation() {
    [ -n "${RAPPORT_REGISTRY:-}" ] || load_images --tag next "${charts[@]}"
    load_caller
    load_servers
    load_release install
}
# The caller's image, for which there is no chart.
load_caller() {
    [ -z "${RAPPORT_REGISTRY:-}" ] || return 0
    load_images load
    scripts/images --profile "$profile" >/dev/null # the archives are the usual ones again
}
# A new namespace with nothing but the servers in it, and the queue that gets every event.
load_servers() {
    local nodes off=("${charts[@]/#/--set=}")
    space $load_space
    mapfile -t nodes < <(workers)
    cordon "${nodes[@]:1}"
    helm install servers "$umbrella" --namespace $load_space --values charts/rapport/profiles/dev.yaml "${server_values[@]}" \
        "${off[@]/%/.enabled=false}" --set networkPolicy.defaultDeny=false --wait --timeout 120s || { uncordon; return 1; }
    uncordon
    events_queue
}
load_images() { scripts/images --profile "$profile" "$@"; bring "$CARGO_TARGET_DIR"/images/rapport-*.tar; }
workers() { kubectl get nodes -l '!node-role.kubernetes.io/control-plane' -o jsonpath='{range .items[*]}{.metadata.name}{"\n"}{end}' | sort; }

# The caller stands on the first node, where nothing is done to it.
load_start() { # NAME
    load_log=$logs/load-$1.jsonl
    # What a check left that failed half-way.
    kubectl -n $load_space delete pod load --ignore-not-found --wait --timeout 120s >/dev/null
    uncordon
    events_begin
    kubectl -n $load_space apply -f - >/dev/null <<END
apiVersion: v1
kind: Pod
metadata:
  name: load
  labels: {app.kubernetes.io/name: load}
spec:
  restartPolicy: OnFailure # its first call may come before the network policies know it
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: 90
  nodeName: $(workers | head -n 1)
  securityContext: {runAsNonRoot: true, runAsUser: 65532, fsGroup: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: load
      image: ${RAPPORT_REGISTRY:-localhost}/rapport-load:$(load_tag)
      args: ["$load_rate", /etc/load/credential]
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
      volumeMounts: [{name: credential, mountPath: /etc/load, readOnly: true}]
  volumes:
    - name: credential
      secret: {secretName: identity-secrets, items: [{key: credential, path: credential}]}
END
    wait_until 90 "the load" load_ready
    kubectl -n $load_space logs --follow load >"$load_log" 2>&1 &
    load_follower=$!
    sleep 5
}
load_ready() { kubectl -n $load_space logs load 2>/dev/null | grep '"ready"' >/dev/null; }
load_tag() { sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"/\1/p' Cargo.toml; }

load_stop() {
    sleep 5
    kubectl -n $load_space delete pod load --wait --timeout 120s >/dev/null
    wait $load_follower || :
    grep '"summary"' "$load_log" || { echo "the load ended without a summary:"; tail -n 5 "$load_log"; return 1; }
}
# figure NAME: a number of the last summary.
figure() { grep '"summary"' "$load_log" | sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }
told() { detail "$(figure sent) calls, $(figure failed) failed, $(figure written) writes, $(figure lost) lost, p99 $(figure p99_ms) ms, slowest $(figure slowest_ms) ms$1"; }

# under_load NAME COMMAND...: nothing may fail and nothing be lost while COMMAND runs.
under_load() {
    local name=$1; shift
    load_start "$name"
    "$@"
    load_stop
    told ""
    events_arrived
    [ "$(figure sent)" -gt $((load_rate * 8)) ] && [ "$(figure failed)" = 0 ] && [ "$(figure unanswered)" = 0 ] && [ "$(figure lost)" = 0 ]
}

# All that should run is Ready, and what had to end has ended.
settled() {
    sleep 1
    kubectl -n $load_space rollout status "${charts[@]/#/deployment/}" --timeout 120s
    wait_until 60 "pods that end" no_pod_ends
}
no_pod_ends() {
    local ending
    ending=$(kubectl -n $load_space get pods -l app.kubernetes.io/component=server \
        -o jsonpath='{range .items[?(@.metadata.deletionTimestamp)]}{.metadata.name}{end}') && [ -z "$ending" ]
}
