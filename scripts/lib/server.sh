# shellcheck shell=bash
# What both servers of scripts/infra need; DIR is the folder of the instance.

# Both refuse to run as root, or should: as root everything of theirs runs as 'nobody'.
unprivileged() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
    else "$@"; fi
}
own() { [ "$(id -u)" != 0 ] || chown nobody:nogroup "$@"; }

# locked SERVER COMMAND...: one change to a server at a time, also between scripts.
locked() {
    local server=$1; shift
    (
        exec {lock}>"$DIR/$server.lock"
        flock -w 180 "$lock" || fail "$server of '$NAME' has been busy for 3 minutes; see 'fuser $DIR/$server.lock'"
        "$@"
    )
}

# A server must inherit no descriptor: a lock or a caller's pipe would stay open while it lives.
close_descriptors() {
    local fd
    for fd in /proc/self/fd/*; do
        fd=${fd##*/}
        [ "$fd" -le 2 ] || eval "exec $fd>&-"
    done
}

# daemon LOG COMMAND...: start COMMAND in a session of its own; $! is its pid.
daemon() {
    local log=$1; shift
    (
        close_descriptors
        if [ "$(id -u)" = 0 ]; then exec setsid setpriv --reuid=nobody --regid=nogroup --clear-groups "$@"
        else exec setsid "$@"; fi
    ) </dev/null >>"$log" 2>&1 &
}

# live PIDFILE MARK: print the pid in PIDFILE if that process is ours, that is if MARK stands in
# its command line. A number alone may have passed to a stranger; a zombie has no command line.
live() {
    local pid
    { read -r pid <"$1"; } 2>/dev/null || return 1
    tr '\0' ' ' 2>/dev/null <"/proc/$pid/cmdline" | grep -qF -- "$2" || return 1
    echo "$pid"
}
dead() { ! live "$@" >/dev/null; }
# ended PID: for a process that may still be on its way from one exec to the next, when it has no
# command line for an instant. A zombie has ended.
ended() { ! grep -q '^State:[[:space:]]*[^ZX]' "/proc/$1/status" 2>/dev/null; }

# Ports come from below the ephemeral range: a client that keeps dialling a dead server there can
# be given the very port it dials as its own, and then nobody else can have it.
free_ports() {
    perl -MIO::Socket::INET -e 'my @open; while (@open < $ARGV[0]) {
        push @open, IO::Socket::INET->new(Listen => 1, ReuseAddr => 1, LocalAddr => "127.0.0.1",
            LocalPort => 20000 + int rand 12000) // next } print join(" ", map $_->sockport, @open), "\n"' "$1"
}
ports_free() {
    perl -MIO::Socket::INET -e 'IO::Socket::INET->new(Listen => 1, ReuseAddr => 1,
        LocalAddr => "127.0.0.1", LocalPort => $_) or exit 1 for @ARGV' "$@"
}
# remembered_ports FILE COUNT: keep the ports of the last time unless somebody has taken one.
remembered_ports() {
    # shellcheck disable=SC2046 # one word per port
    if [ ! -s "$1" ] || ! ports_free $(<"$1"); then free_ports "$2" >"$1"; fi
}

new_password() { # FILE; hexadecimal, so that it needs no escaping in a URL
    [ -s "$1" ] || (umask 077; od -An -N16 -tx1 /dev/urandom | tr -d ' \n' >"$1")
}
