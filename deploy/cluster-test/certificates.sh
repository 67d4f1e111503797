# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Mutual TLS between services, with certificates of an authority that is made here.

check_certificates() {
    local space=rapport-test-certificates service options=()
    namespaces+=($space)
    for service in "${charts[@]}"; do
        options+=(--set "$service.certificate.enabled=true" --set "$service.certificate.existingSecret=$service-tls")
    done
    check "certificates: servers and certificates" - certified $space
    $passed || return 0
    check "certificates: helm install, to Ready" 90 helm install rapport "$umbrella" --namespace $space \
        --values charts/rapport/profiles/dev.yaml "${values[@]}" "${server_values[@]}" "${options[@]}" --wait --wait-for-jobs --timeout 150s
    $passed || return 0
    check "certificates: helm test" - helm test rapport --namespace $space --timeout 120s
    check "certificates: services read the policy" - policy_read $space
    check "certificates: strangers and plain text are refused" - strangers_refused $space
    check "certificates: every pod well" - all_well $space
}

# A Secret for each service, with the names that it is called by.
certified() {
    local service folder=$work/certificates names
    need openssl "it makes the certificates"
    space "$1"
    mkdir -p "$folder"
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=cluster-test \
        -keyout "$folder/ca.key" -out "$folder/ca.crt"
    for service in "${charts[@]}"; do
        names="DNS:$service,DNS:$service-headless"
        openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$service" -keyout "$folder/tls.key" -out "$folder/request"
        openssl x509 -req -in "$folder/request" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -days 1 -out "$folder/tls.crt" \
            -extfile <(printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names")
        kubectl -n "$1" create secret generic "$service-tls" --from-file "$folder/ca.crt" --from-file "$folder/tls.crt" --from-file "$folder/tls.key"
    done
}

# Each service has asked identity over TLS: the bundle says that the policy was read.
policy_read() {
    local service
    for service in "${charts[@]}"; do
        wait_until 30 "policy in $service" policy_of "$1" "$service"
    done
}
policy_of() {
    local bundle
    bundle=$(kubectl -n "$1" exec "deploy/$2" -- /usr/bin/rapport --config /etc/rapport/config/rapport.toml check) || return 1
    [[ $bundle = *'"policy_was_read": true'* ]]
}

# Through a forwarded port: with a certificate of the authority a call is answered, without one or in plain text it is not.
strangers_refused() {
    local service folder=$work/certificates known=()
    for service in "${charts[@]}"; do
        known=(curl -sS --http2 --max-time 10 -o /dev/null --cacert "$folder/ca.crt")
        forwarded "$1" "$service" "${known[@]}" --cert "$folder/tls.crt" --key "$folder/tls.key" "https://$service:PORT/"
        if forwarded "$1" "$service" "${known[@]}" "https://$service:PORT/"; then echo "$service answers who shows no certificate"; return 1; fi
        if forwarded "$1" "$service" curl -sS --http2-prior-knowledge --max-time 10 -o /dev/null "http://$service:PORT/"; then
            echo "$service answers in plain text"; return 1
        fi
    done
}

# forwarded NAMESPACE SERVICE CURL...: with a port of the service's pod, which stands for PORT. A forwarded port ends with
# the first connection that is cut, so that each call has one of its own.
forwarded() {
    local space=$1 service=$2 forward port status=0 log=$work/forward; shift 2
    kubectl -n "$space" port-forward "deploy/$service" :8080 >"$log" 2>&1 &
    forward=$!
    wait_until 10 "port-forward" grep -q '^Forwarding from 127' "$log" || fail "no port of $service is forwarded"
    port=$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log")
    "${@//PORT/$port}" --resolve "$service:$port:127.0.0.1" || status=$?
    kill "$forward" 2>/dev/null || :
    # Not answered is one thing, not reached (7) another.
    [ $status != 7 ] || fail "the forwarded port of $service is not there"
    return $status
}
