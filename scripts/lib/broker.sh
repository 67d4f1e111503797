# shellcheck shell=bash
# The RabbitMQ of an instance: a node of its own in $DIR/broker, with an epmd (Erlang's name
# service, which would otherwise be shared by the whole machine and outlive the node) of its own.

broker_pid() { live "$DIR/broker/pid" "-rapport $DIR/broker"; }
epmd_mark() { echo "epmd -address 127.0.0.1 -port $(cut -d' ' -f3 "$DIR/broker/ports")"; }
epmd_pid() { [ -s "$DIR/broker/ports" ] && live "$DIR/broker/epmd.pid" "$(epmd_mark)"; }

# The settings by which the server and rabbitmqctl find this node and nothing of the system's.
broker_env() {
    local home=$DIR/broker amqp dist epmd; read -r amqp dist epmd <"$home/ports"
    BROKER_ENV=(
        HOME="$home" ERL_EPMD_PORT="$epmd" ERL_EPMD_ADDRESS=127.0.0.1
        RABBITMQ_NODENAME="rapport-$NAME@localhost" RABBITMQ_NODE_IP_ADDRESS=127.0.0.1
        RABBITMQ_NODE_PORT="$amqp" RABBITMQ_DIST_PORT="$dist"
        RABBITMQ_MNESIA_BASE="$home/data" RABBITMQ_LOG_BASE="$home/log"
        RABBITMQ_GENERATED_CONFIG_DIR="$home/generated"
        RABBITMQ_CONFIG_FILE="$home/rabbitmq.conf" RABBITMQ_ADVANCED_CONFIG_FILE="$home/advanced.config"
        RABBITMQ_ENABLED_PLUGINS_FILE="$home/enabled_plugins" RABBITMQ_CONF_ENV_FILE=/dev/null
    )
}

broker_up() {
    local home=$DIR/broker
    [ -x "$RABBITMQ_SERVER" ] || fail "RabbitMQ is missing: run scripts/bootstrap"
    mkdir -p "$home"/{data,log,generated}
    own "$home" "$home"/{data,log,generated}
    new_password "$home/password"
    # An epmd that outlived its node would hold one of the ports.
    broker_pid >/dev/null || { epmd_stop; remembered_ports "$home/ports" 3; }
    echo '[].' >"$home/enabled_plugins"
    echo '[].' >"$home/advanced.config"
    # The default user is created with an empty database, in place of RabbitMQ's guest.
    (umask 077; cat >"$home/rabbitmq.conf") <<CONF
default_user = rapport
default_pass = $(<"$home/password")
default_user_tags.administrator = true
heartbeat = 20
disk_free_limit.absolute = 100MB
vm_memory_high_watermark.relative = 0.4
log.console = false
log.file.level = info
CONF
    own "$home/rabbitmq.conf"
    broker_start
}

broker_start() {
    local home=$DIR/broker start pid; start=$(now)
    if broker_pid >/dev/null; then start=; else broker_spawn; fi
    pid=$(<"$home/pid")
    if ! wait_until 120 broker broker_settled "$pid" || ! broker_pid >/dev/null; then
        { kill -9 "$pid"; wait "$pid"; } 2>/dev/null || :
        tail -n 15 "$home/log/console.log" "$home/log/rapport-$NAME@localhost.log" >&2 || :
        fail "RabbitMQ ended during its start or took more than 120 s; see $home/log"
    fi
    [ -z "$start" ] || say "broker: ready on 127.0.0.1:$(cut -d' ' -f1 "$home/ports") after $(elapsed "$start")"
}

broker_spawn() {
    local home=$DIR/broker
    if ! epmd_pid >/dev/null; then
        # shellcheck disable=SC2046 # one word per port
        ports_free $(<"$home/ports") || fail "a port of the broker ($(<"$home/ports")) is taken by another program"
        # shellcheck disable=SC2046
        daemon "$home/log/epmd.log" $(epmd_mark)
        echo $! >"$home/epmd.pid"
    fi
    broker_env
    # Without ALLOW_INPUT the script stays in front of the node; with it the node takes its place.
    # inet_dist_use_interface: nothing listens to other machines. -rapport: how we know our own.
    daemon "$home/log/console.log" env -C "$home" "${BROKER_ENV[@]}" RABBITMQ_ALLOW_INPUT=1 \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-noinput -kernel inet_dist_use_interface {127,0,0,1} -rapport $home" \
        "$RABBITMQ_SERVER"
    echo $! >"$home/pid"
}

# It answers AMQP's greeting, or there is nothing to wait for: process $1 has ended.
broker_settled() {
    local port; port=$(cut -d' ' -f1 "$DIR/broker/ports")
    ! ended "$1" || return 0
    (exec 3<>"/dev/tcp/127.0.0.1/$port" && printf 'AMQP\0\0\11\1' >&3 && read -r -t 5 -n 1 -u 3 _) 2>/dev/null
}

broker_stop() {
    local pid
    if pid=$(broker_pid); then
        kill -TERM "$pid"
        wait_until 40 broker dead "$DIR/broker/pid" "-rapport $DIR/broker" || broker_kill
    fi
    epmd_stop
}

epmd_stop() {
    local pid; pid=$(epmd_pid) || return 0
    kill "$pid"
    wait_until 5 broker dead "$DIR/broker/epmd.pid" "$(epmd_mark)" || kill -9 "$pid"
}

broker_kill() {
    local pid; pid=$(broker_pid) || return 0
    kill -9 "$pid"
    wait_until 10 broker dead "$DIR/broker/pid" "-rapport $DIR/broker" || fail "the broker (pid $pid) survives kill -9"
}

broker_ctl() {
    broker_pid >/dev/null || fail "the broker of '$NAME' is not running"
    broker_env
    (cd / && unprivileged env "${BROKER_ENV[@]}" /usr/lib/rabbitmq/bin/rabbitmqctl "$@")
}

broker_status() {
    local pid
    if pid=$(broker_pid); then
        echo "broker    running  pid $pid  127.0.0.1:$(cut -d' ' -f1 "$DIR/broker/ports")  rapport-$NAME@localhost"
    else echo "broker    stopped"; return 1; fi
}
