# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Who reaches whom: pods that are labelled as each kind of pod is, and strangers, knock at every port. What the table
# of calls lets through must answer, and everything else must not.

# source: the labels name and component; target: host:port; and which of the targets each source may reach.
network_sources() {
    cat <<'END'
identity server
contacts server
identity migrate
contacts migrate
identity test
stranger server
END
}
network_targets="identity:8080 contacts:8080 identity-headless:9090 contacts-headless:9090 postgres:5432 rabbitmq:5672 kubernetes.default:443"
network_allowed() {
    case "$1" in
    "identity server") echo "postgres:5432 rabbitmq:5672" ;;
    "contacts server") echo "identity:8080 postgres:5432 rabbitmq:5672" ;;
    *" migrate") echo "postgres:5432" ;;
    "identity test") echo "identity:8080" ;;
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
    local space=$1 pod="knocker-${2/ /-}" target allowed reached wrong=() count=0
    allowed=" $(network_allowed "$2") "
    kubectl -n "$space" exec "$pod" -- true # else nothing would be reached because nobody knocks
    for target in $network_targets; do
        reached=no
        # shellcheck disable=SC2016 # the pod's shell expands these
        ! kubectl -n "$space" exec "$pod" -- timeout 3 bash -c 'exec 3<>"/dev/tcp/$0/$1"' "${target%:*}" "${target#*:}" 2>/dev/null || reached=yes
        count=$((count + 1))
        echo "$2 -> $target: $reached"
        if [[ $allowed = *" $target "* ]]; then [ $reached = yes ] || wrong+=("$target is refused")
        else [ $reached = no ] || wrong+=("$target is open"); fi
    done
    detail "${wrong[*]:-$count pairs as the table says}"
    [ ${#wrong[@]} = 0 ]
}
