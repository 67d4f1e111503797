# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# The broker and the database restart under load.

check_outage() {
    load_install
    $passed || return 0
    check "load: the broker restarts" - under_load broker restarted rabbitmq-0
    check "load: the database restarts" - database_restarted
}

restarted() { # POD
    kubectl -n $load_space delete pod "$1" --wait --timeout 120s
    wait_until 30 "another $1" kubectl -n $load_space get pod "$1" # waiting for what is not there yet is a failure
    kubectl -n $load_space wait pod "$1" --for condition=Ready --timeout 120s
}

# Without it nothing can be answered; afterwards everything must be, and nothing that was acknowledged be gone.
database_restarted() {
    load_start database
    restarted postgres-0
    sleep 10
    local failed_before failed_after
    failed_before=$(grep -c '"failed":"' "$load_log" || :)
    sleep 5
    failed_after=$(grep -c '"failed":"' "$load_log" || :)
    load_stop
    told ", $((failed_after - failed_before)) failed 10 to 15 s after it was back"
    events_arrived
    [ "$failed_after" = "$failed_before" ] && [ "$(figure lost)" = 0 ]
}
