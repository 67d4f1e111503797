# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Who reaches whom: pods that are labelled as each kind of pod is, and strangers, knock at every port. What the charts'
# table of calls lets through must answer, and everything else must not.

# A line for each source: the labels name and component.
network_sources() {
    printf '%s\n' "${charts[@]/%/ server}" "${charts[@]/%/ migrate}" "${charts[@]/%/ test}" "stranger server"
}
# host:port
network_targets() {
    printf '%s\n' "${charts[@]/%/:8080}" "${charts[@]/%/-headless:9090}" postgres:5432 rabbitmq:5672 kubernetes.default:443
}
# Which of the targets a source may reach.
network_allowed() {
    local calls
    case $1 in
    stranger*) ;;
    *" server")
        calls=$(sed -n "s/^${1% *}: \[\(.*\)\]$/\1/p" charts/rapport-service/templates/_calls.tpl)
        calls=${calls//,/}
        # shellcheck disable=SC2086 # one word per service
        [ -z "$calls" ] || printf '%s:8080\n' $calls
        printf '%s\n' postgres:5432 rabbitmq:5672 ;;
    *" migrate") echo postgres:5432 ;;
    *" test") echo "${1% *}:8080" ;;
    esac
}

check_network() {
    local space=rapport-test-network source
    namespaces+=($space)
    check "network: install" - network_install $space
    $passed || return 0
    while read -r source; do
        check "network: $source" - network_of $space "$source"
    done < <(network_sources)
}

network_install() {
    space "$1"
    helm install rapport "$umbrella" --namespace "$1" --values charts/rapport/profiles/dev.yaml "${values[@]}" "${server_values[@]}" \
        --wait --timeout 150s
    local source
    while read -r source; do knocker "$1" $source; done < <(network_sources)
    kubectl -n "$1" wait pod -l knocks=yes --for jsonpath='{.status.phase}'=Running --timeout 60s
    sleep 5 # policies know a pod a moment after it started
}

# A pod with a shell that is taken for one of ours by the policies, and by no Service, since it is never Ready.
knocker() { # NAMESPACE NAME COMPONENT
    kubectl -n "$1" apply -f - <<END
apiVersion: v1
kind: Pod
metadata:
  name: knocker-$2-$3
  labels: {knocks: "yes", app.kubernetes.io/name: $2, app.kubernetes.io/instance: rapport, app.kubernetes.io/component: $3, app.kubernetes.io/part-of: rapport}
spec:
  automountServiceAccountToken: false
  terminationGracePeriodSeconds: 0
  securityContext: {runAsNonRoot: true, runAsUser: 65532, seccompProfile: {type: RuntimeDefault}}
  containers:
    - name: knocker
      image: ${RAPPORT_POSTGRES_IMAGE:-localhost/postgres:1}
      command: [sleep, "3600"]
      readinessProbe: {exec: {command: ["false"]}}
      securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
END
}

network_of() { # NAMESPACE SOURCE
    local space=$1 source=$2 targets target allowed reached wrong=() count=0
    mapfile -t targets < <(network_targets)
    allowed=$'\n'$(network_allowed "$source")$'\n'
    # At all of them at once, since a refusal is to hear nothing for three seconds.
    # shellcheck disable=SC2016 # the pod's shell expands these
    reached=$'\n'$(kubectl -n "$space" exec "knocker-${source/ /-}" -- bash -c 'for target; do
        timeout 3 bash -c "exec 3<>/dev/tcp/${target%:*}/${target#*:}" 2>/dev/null && echo "$target" & done; wait' knock "${targets[@]}")$'\n'
    echo "may reach:$allowed" "reaches:$reached"
    for target in "${targets[@]}"; do
        count=$((count + 1))
        if [[ $allowed = *$'\n'$target$'\n'* ]]; then [[ $reached = *$'\n'$target$'\n'* ]] || wrong+=("$target is refused")
        else [[ $reached != *$'\n'$target$'\n'* ]] || wrong+=("$target is open"); fi
    done
    detail "${wrong[*]:-$count pairs as the table says}"
    [ ${#wrong[@]} = 0 ]
}
