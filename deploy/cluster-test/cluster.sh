# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# The cluster of scripts/cluster-test, what is loaded into it, and how it is left.

namespaces=() started=no values=() server_values=()

# Sets KUBECONFIG; kubectl and helm are then on the PATH.
cluster_up() {
    if [ -n "${KUBECONFIG:-}" ]; then
        need kubectl "install kubectl"; need helm "install Helm 3 or 4"
        kubectl get --raw /readyz >/dev/null || fail "the cluster of KUBECONFIG=$KUBECONFIG does not answer"
    elif [ -x "$CLUSTER" ]; then
        local vars; vars=$("$CLUSTER" env); eval "$vars"
        if ! kubectl get --raw /readyz >/dev/null 2>&1; then
            started=yes
            "$CLUSTER" up 9>&-
        fi
    else
        fail "there is no cluster: set KUBECONFIG, or put the cluster folder at $CLUSTER_FOLDER. With Docker you get one by
    kind create cluster --name rapport --config <(printf 'kind: Cluster\napiVersion: kind.x-k8s.io/v1alpha4\nnodes: [{role: control-plane}, {role: worker}, {role: worker}]\n')
    export KUBECONFIG=~/.kube/config"
    fi
    say "cluster: $(kubectl version -o json | tr -d '\n ' | sed 's/.*"serverVersion".*"gitVersion":"\([^"]*\)".*/\1/'), $(kubectl get nodes -o name | wc -l) nodes"
}
own_cluster() { [ -x "$CLUSTER" ] && [ "$KUBECONFIG" = "$("$CLUSTER" kubeconfig)" ]; }

# Builds the images and brings them onto the nodes.
images_there() {
    local tars=() server
    if [ -n "${RAPPORT_REGISTRY:-}" ]; then
        say "images: expected in $RAPPORT_REGISTRY"
        values+=(--set "global.image.registry=$RAPPORT_REGISTRY")
    else
        scripts/images --profile "$profile"
        tars=("$CARGO_TARGET_DIR"/images/rapport-*.tar)
        values+=(--set "global.image.registry=localhost")
    fi
    for server in postgres rabbitmq; do
        local image=RAPPORT_${server^^}_IMAGE
        server_values+=(--set "dev.$server.image=${!image:-localhost/$server:1}")
        [ -z "${!image:-}" ] || continue
        [ -s "$CLUSTER_IMAGES/$server.tar" ] || { need_cluster_folder; "$CLUSTER_FOLDER/image/make" "$server" >&2; }
        tars+=("$CLUSTER_IMAGES/$server.tar")
    done
    [ ${#tars[@]} = 0 ] || bring "${tars[@]}"
}

# bring ARCHIVE...: onto every node.
bring() {
    local tar context
    if own_cluster; then "$CLUSTER" load "$@" 2>/dev/null; return; fi
    context=$(kubectl config current-context)
    [[ $context = kind-* ]] || fail "this is neither kind nor the cluster folder's: push the images to a registry and name it by RAPPORT_REGISTRY"
    need kind "it loads the images"
    for tar; do kind load image-archive --name "${context#kind-}" "$tar"; done
}

charts_there() {
    scripts/charts package >&2
    packages=$CARGO_TARGET_DIR/charts
    umbrella=$(echo "$packages"/rapport-[0-9]*.tgz)
    [ -s "$umbrella" ] || fail "scripts/charts package made no $umbrella"
}

# space NAME: a new namespace that enforces the restricted level, with the Secrets of everything. One that is there
# already is deleted if a run before made it, which its label tells.
space() {
    local there; there=$(kubectl get namespace "$1" --ignore-not-found -o name) || fail "the cluster does not tell its namespaces"
    if [ -n "$there" ]; then
        ours "$1" || fail "there is a namespace $1 that this script did not make: delete it yourself if it may go"
        kubectl delete namespace "$1" --ignore-not-found --wait --timeout 120s >/dev/null
    fi
    kubectl create -f - >/dev/null <<END || fail "the namespace $1 could not be made"
apiVersion: v1
kind: Namespace
metadata:
  name: $1
  labels: {rapport-cluster-test: "yes", pod-security.kubernetes.io/enforce: restricted, pod-security.kubernetes.io/warn: restricted}
END
    deploy/secrets "$1" >/dev/null
}
ours() { [ "$(kubectl get namespace "$1" -o 'jsonpath={.metadata.labels.rapport-cluster-test}' 2>/dev/null)" = yes ]; }

# cordon NODE...: until uncordon, or the end of the script. Nodes that somebody else cordoned are left to them.
cordon() {
    local node
    for node; do
        [ "$(kubectl get node "$node" -o 'jsonpath={.spec.unschedulable}')" != true ] || continue
        echo "$node" >>"$work/cordoned"
        kubectl cordon "$node"
    done
}
uncordon() {
    local nodes; mapfile -t nodes < <(sort -u "$work/cordoned" 2>/dev/null)
    [ ${#nodes[@]} -gt 0 ] || return 0
    kubectl uncordon "${nodes[@]}" && rm "$work/cordoned"
}

clean_up() {
    local status=$?
    # shellcheck disable=SC2046 # one word per process
    kill $(jobs -p) 2>/dev/null || :
    uncordon >&2 || :
    rm -rf "$work"
    if [ $keep = yes ]; then
        say "kept: ${namespaces[*]:-nothing} (kubectl --kubeconfig ${KUBECONFIG:-none})"
    elif [ $started = yes ]; then "$CLUSTER" down
    else
        local name
        for name in "${namespaces[@]}"; do
            ! ours "$name" || kubectl delete namespace "$name" --ignore-not-found --wait=false >/dev/null || :
        done
    fi
    exit "$status"
}
