# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# How scripts/cluster-test runs a check and what it tells.

failed=0 passed=true rows=()

row() { # WHAT VERDICT MICROSECONDS GOAL DETAIL
    rows+=("$(printf '%-44s %-7s %6d.%d s  %-9s %s' "$1" "$2" $(($3 / 1000000)) $(($3 / 100000 % 10)) "$4" "$5")")
    say "${rows[-1]}"
}

# check WHAT GOAL COMMAND...: what it prints goes to a log; its last call of `detail` into the table. GOAL is in
# seconds, or - for none; SLOW tells that it was missed, which depends on the machine and fails nothing. The command is a
# process of its own, and the first of its commands that fails is its end. Sets `passed` to true or false, by which what
# builds on it can be left out; it is never to stand in a condition (`check … || …`), where bash lets commands fail unseen.
check() {
    local what=$1 goal=$2 log start took verdict=ok status=0 seconds=; shift 2
    (set -e; false; true) & wait $! && fail "the check '$what' stands in a condition, where only its last command would count"
    passed=true
    log=$logs/$(tr -c 'a-z0-9\n' - <<<"${what,,}").log
    : >"$work/detail"
    start=$(now)
    # Without the lock, which what a check starts might hold for longer than this script runs.
    (set -e; shopt -s inherit_errexit; "$@") >"$log" 2>&1 </dev/null 9>&- &
    wait $! || status=$?
    took=$(($(now) - start))
    [ "$goal" = - ] || { seconds="<= $goal s"; [ $took -le $((goal * 1000000)) ] || { verdict=SLOW; }; }
    [ $status = 0 ] || { verdict=FAILED; failed=1; passed=false; }
    row "$what" $verdict $took "$seconds" "$(<"$work/detail")"
    $passed || { say "  from $log:"; tail -n 15 "$log" | sed 's/^/  | /' >&2; }
}
detail() { echo "$*" >"$work/detail"; echo "$*"; }

table() { printf '%s\n' "" "cluster-test:" "${rows[@]/#/  }"; }

# all_well NAMESPACE: every pod is Ready and none of its containers was ever restarted.
all_well() {
    kubectl -n "$1" get pods -o wide
    # A test's first call may come before its pod is known to the network policies; its Job then tries again.
    local bad running
    bad=$(kubectl -n "$1" get pods -l 'app.kubernetes.io/component notin (migrate,test)' \
        -o jsonpath='{range .items[*]}{.metadata.name}{" "}{.status.conditions[?(@.type=="Ready")].status}{" "}{.status.containerStatuses[*].restartCount}{"\n"}{end}' |
        awk 'NF { for (i = 3; i <= NF; i++) if ($i > 0) print; if ($2 != "True") print }')
    [ -z "$bad" ] || { detail "not well: $bad"; return 1; }
    running=$(kubectl -n "$1" get pods --field-selector status.phase=Running -o name | wc -l)
    detail "$running pods"
    [ "$running" -gt 0 ]
}
