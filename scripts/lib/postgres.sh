# shellcheck shell=bash
# The PostgreSQL of an instance: a cluster of its own in $DIR/postgres.

pg_data() { echo "$DIR/postgres/data"; }
pg_ctl() { (close_descriptors; cd / && unprivileged "$(postgres_bin)/pg_ctl" -s -D "$(pg_data)" "$@"); }
postgres_pid() { live "$(pg_data)/postmaster.pid" "-D $(pg_data)"; }

# Every process of this cluster, children without a parent included: all work in the data folder.
postgres_processes() {
    local pid
    for pid in $(find /proc -mindepth 2 -maxdepth 2 -name cwd -lname "$(pg_data)" 2>/dev/null | cut -d/ -f3); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != postgres ] || echo "$pid"
    done
}
postgres_gone() { [ -z "$(postgres_processes)" ]; }

postgres_up() { # durable|fast
    local home=$DIR/postgres
    mkdir -p "$home/run"
    own "$home" "$home/run"
    new_password "$home/password"
    own "$home/password"
    if [ ! -d "$home/data" ]; then
        local bin sync=; [ "$1" = durable ] || sync=--no-sync
        bin=$(postgres_bin) || fail "no PostgreSQL 15 or newer: run scripts/bootstrap"
        say "postgres: creating the cluster in $home"
        # Into a folder of another name first: an interrupted initdb leaves nothing that looks done.
        rm -rf "$home/data.new"
        (cd / && unprivileged "$bin/initdb" -D "$home/data.new" -U rapport -A scram-sha-256 --no-instructions \
            --pwfile="$home/password" -E UTF8 --locale=C.UTF-8 $sync >"$home/initdb.log" 2>&1) ||
            { tail -n 20 "$home/initdb.log" >&2; fail "initdb failed; its output is in $home/initdb.log"; }
        echo "include 'rapport.conf'" >>"$home/data.new/postgresql.conf"
        mv "$home/data.new" "$home/data"
    fi
    postgres_pid >/dev/null || remembered_ports "$home/port" 1
    echo "$1" >"$home/durability"
    postgres_configure
    # The settings that --fast changes can be changed in a running server.
    if postgres_pid >/dev/null; then
        pg_ctl reload
        wait_until 120 postgres "$(postgres_bin)/pg_isready" -q -h 127.0.0.1 -p "$(<"$home/port")" ||
            fail "PostgreSQL runs but takes no connections; see $home/log"
    else postgres_start; fi
}

postgres_configure() {
    local home=$DIR/postgres switch=on socket
    [ "$(<"$home/durability")" = durable ] || switch=off
    socket=$home/run # a socket's path has at most 107 characters
    [ ${#socket} -lt 90 ] || socket=
    cat >"$home/data/rapport.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $(<"$home/port")
unix_socket_directories = '$socket'
max_connections = 400
fsync = $switch
synchronous_commit = $switch
full_page_writes = $switch
timezone = 'UTC'
log_timezone = 'UTC'
CONF
    own "$home/data/rapport.conf"
}

postgres_start() {
    local home=$DIR/postgres start; start=$(now)
    ! postgres_pid >/dev/null || return 0
    wait_until 20 postgres postgres_gone || fail "old processes of the cluster do not end: $(postgres_processes | tr '\n' ' ')"
    # Left by a killed server; the number in them may be a zombie by now, or somebody else.
    rm -f "$home/data/postmaster.pid" "$home/run"/.s.PGSQL.*
    # shellcheck disable=SC2046
    ports_free $(<"$home/port") || fail "port $(<"$home/port") of postgres is taken by another program"
    touch "$home/log"; own "$home/log"
    pg_ctl start -w -t 120 -l "$home/log" </dev/null >/dev/null 2>&1 ||
        { tail -n 20 "$home/log" >&2; fail "PostgreSQL did not start; see $home/log"; }
    say "postgres: ready on 127.0.0.1:$(<"$home/port") after $(elapsed "$start")"
}

postgres_stop() {
    if postgres_pid >/dev/null; then
        pg_ctl stop -m fast -t 30 >&2 || pg_ctl stop -m immediate -t 10 >&2 || postgres_kill
    fi
    postgres_gone || postgres_kill
}

# The postmaster gets -9 and nothing else does; its children notice and end by themselves.
postgres_kill() {
    local pid; pid=$(postgres_pid) && kill -9 "$pid"
    if ! wait_until 10 postgres postgres_gone; then
        for pid in $(postgres_processes); do kill -9 "$pid" 2>/dev/null || :; done
        wait_until 5 postgres postgres_gone || fail "processes of the cluster survive kill -9: $(postgres_processes)"
    fi
}

postgres_status() {
    local pid
    if pid=$(postgres_pid); then
        echo "postgres  running  pid $pid  127.0.0.1:$(<"$DIR/postgres/port")  $(<"$DIR/postgres/durability")"
    else echo "postgres  stopped"; return 1; fi
}
