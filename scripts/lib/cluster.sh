# shellcheck shell=bash disable=SC2034 # what is set here is used elsewhere
# The cluster folder beside the checkout: a Kubernetes cluster on one machine, and the images to try charts with.

CLUSTER_FOLDER=${RAPPORT_CLUSTER_FOLDER:-$ROOT/../shared/cluster}
CLUSTER=$CLUSTER_FOLDER/cluster
CLUSTER_IMAGES=${RAPPORT_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/rapport-cluster}/images

need_cluster_folder() {
    [ -x "$CLUSTER" ] || fail "there is no cluster folder at $CLUSTER_FOLDER (RAPPORT_CLUSTER_FOLDER names another).
  With Docker and a network you can do without it:
    docker build -f deploy/Dockerfile --build-arg SERVICE=identity -t localhost/rapport-identity:0.1.0 .    # so for each service
    kind create cluster && kind load docker-image localhost/rapport-identity:0.1.0 localhost/rapport-contacts:0.1.0
    RAPPORT_REGISTRY=localhost RAPPORT_POSTGRES_IMAGE=docker.io/library/postgres:17 \\
        RAPPORT_RABBITMQ_IMAGE=docker.io/library/rabbitmq:4.2-management scripts/cluster-test"
}
