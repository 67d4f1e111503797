# shellcheck shell=bash disable=SC2154,SC2034,SC2206 # the variables are those of scripts/cluster-test
# Whether events are lost, by a count of a consumer's own: a queue that wants every event and that no service knows of
# gets what leaves while a load runs, and what is in it is compared with the rows of the journals.

# Before the services are there, so that it misses none. It stays, since relays keep back what a queue has wanted once
# and none wants any more. The broker's image must have the management plugin.
events_queue() {
    wait_until 60 "the broker's management" broker_answers
    at_broker exchanges/%2F/rapport.events -X PUT -d '{"type": "topic", "durable": true}'
    at_broker queues/%2F/every-event -X PUT -d '{"durable": true, "arguments": {"x-queue-type": "quorum"}}'
    at_broker bindings/%2F/e/rapport.events/q/every-event -X POST -d '{"routing_key": "#"}'
}

# From here on events count.
events_begin() {
    local service
    at_broker queues/%2F/every-event/contents -X DELETE
    for service in "${charts[@]}"; do
        database_asks "${service//-/_}" 'select coalesce(max(id), 0) from kit.journal' >"$work/begin-$service"
    done
}

# Every row since then has left for the broker and come to the queue, and nothing came that is in no journal. An event
# may come twice, which consumers absorb; how often it did is told.
events_arrived() {
    local service came again
    for service in "${charts[@]}"; do
        wait_until 60 "outbox of $service" outbox_empty "$service" || { say "events of $service are still there"; return 1; }
        database_asks "${service//-/_}" "select id > $(<"$work/begin-$service"), '$service:' || era || ':' || id from kit.journal"
    done >"$work/journal"
    cut -d'|' -f2 "$work/journal" | sort >"$work/recorded"
    sed -n 's/^t|//p' "$work/journal" | sort >"$work/due"
    wait_until 60 "the broker's management" broker_answers
    at_broker queues/%2F/every-event/get -X POST \
        -d '{"count": 1000000, "ackmode": "ack_requeue_false", "encoding": "base64", "truncate": 1}' >"$work/messages"
    python3 -c 'import json, sys; [print(message["properties"]["message_id"]) for message in json.load(sys.stdin)]' \
        <"$work/messages" | sort >"$work/came"
    sort -u "$work/came" >"$work/arrived"
    came=$(wc -l <"$work/came")
    comm -23 "$work/due" "$work/arrived" >"$work/lost"
    comm -13 "$work/recorded" "$work/arrived" >"$work/unknown"
    again=$((came - $(wc -l <"$work/arrived")))
    detail "$(<"$work/detail"); $(wc -l <"$work/due") events, $(wc -l <"$work/lost") lost, $again twice"
    [ -s "$work/due" ]
    [ ! -s "$work/lost" ] || { echo "lost, such as:"; head "$work/lost"; return 1; }
    [ ! -s "$work/unknown" ] || { echo "in no journal, such as:"; head "$work/unknown"; return 1; }
}

outbox_empty() { [ "$(database_asks "${1//-/_}" 'select count(*) from kit.outbox')" = 0 ]; }
database_asks() { kubectl -n $load_space exec postgres-0 -- psql -U postgres -d "$1" -v ON_ERROR_STOP=1 -Atc "$2"; }

broker_answers() { at_broker overview >/dev/null; }
at_broker() { # PATH CURL-OPTION...
    local path=$1 password; shift
    password=$(kubectl -n $load_space get secret rapport-rabbitmq -o 'go-template={{index .data "user.conf" | base64decode}}' |
        sed -n 's/^default_pass = //p')
    at_pod rabbitmq-0 15672 "api/$path" --config <(echo "user = \"rapport:$password\"") --header 'content-type: application/json' "$@"
}

# at_pod POD PORT PATH CURL-OPTION...: what a pod answers over HTTP, whatever the network policies say.
at_pod() (
    pod=$1 port=$2 path=$3; shift 3
    log=$(mktemp -p "$work")
    kubectl -n $load_space port-forward "pod/$pod" ":$port" >"$log" 2>&1 &
    # shellcheck disable=SC2064 # this one
    trap "kill $!" EXIT
    wait_until 10 "port-forward" grep -q '^Forwarding from 127' "$log"
    curl --fail --silent --show-error --max-time 60 "$@" "http://127.0.0.1:$(sed -n 's/^Forwarding from 127.0.0.1:\([0-9]*\) .*/\1/p' "$log")/$path"
)
