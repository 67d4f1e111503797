# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# How scripts/cluster-test runs a check and what it tells.

failed=0 rows=()

row() { # WHAT VERDICT MICROSECONDS GOAL DETAIL
    rows+=("$(printf '%-44s %-7s %6d.%d s  %-9s %s' "$1" "$2" $(($3 / 1000000)) $(($3 / 100000 % 10)) "$4" "$5")")
    say "${rows[-1]}"
}

# check WHAT GOAL COMMAND...: what it prints goes to a log; its last call of `detail` into the table. GOAL is in
# seconds, or - for none; SLOW tells that it was missed, which depends on the machine and fails nothing. The command may use `set -e`: it is a process of its own.
# Answers whether the command succeeded, so that what builds on it can be left out.
check() {
    local what=$1 goal=$2 log start took verdict=ok status=0 seconds=; shift 2
    log=$logs/$(tr -c 'a-z0-9\n' - <<<"${what,,}").log
    : >"$work/detail"
    start=$(now)
    # Without the lock, which what a check starts might hold for longer than this script runs.
    (set -e; "$@") >"$log" 2>&1 </dev/null 9>&- &
    wait $! || status=$?
    took=$(($(now) - start))
    [ "$goal" = - ] || { seconds="<= $goal s"; [ $took -le $((goal * 1000000)) ] || { verdict=SLOW; }; }
    [ $status = 0 ] || { verdict=FAILED; failed=1; }
    row "$what" $verdict $took "$seconds" "$(<"$work/detail")"
    [ $status = 0 ] || { say "  from $log:"; tail -n 15 "$log" | sed 's/^/  | /' >&2; }
    return $status
}
detail() { echo "$*" >"$work/detail"; echo "$*"; }

table() { printf '%s\n' "" "cluster-test:" "${rows[@]/#/  }"; }

# all_well NAMESPACE: every pod is Ready and none of its containers was ever restarted.
all_well() {
    kubectl -n "$1" get pods -o wide
    # A test's first call may come before its pod is known to the network policies; its Job then tries again.
    local bad
    bad=$(kubectl -n "$1" get pods -l 'app.kubernetes.io/component notin (migrate,test)' \
        -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{" "}{.status.containerStatuses[*].restartCount}{"\n"}{end}' |
        awk 'NF { for (i = 3; i <= NF; i++) if ($i > 0) print; if ($2 != "True") print }')
    [ -z "$bad" ] || { detail "not well: $bad"; return 1; }
    detail "$(kubectl -n "$1" get pods --field-selector status.phase=Running -o name | wc -l) pods"
}
