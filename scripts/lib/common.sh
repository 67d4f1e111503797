# shellcheck shell=bash disable=SC2034 # most of what is set here is used elsewhere
# Sourced by every script; it starts nothing. Afterwards the working directory is the checkout.
set -euo pipefail

CALLER_DIR=$PWD # options that name files are relative to where the caller stood
export HOME=${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)} # some CI runners set none
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SCRIPT=$(cd "$(dirname "$0")" && pwd)/${0##*/}
cd "$ROOT"

say() { printf '%s\n' "$*" >&2; }
fail() { say "${0##*/}: $*"; exit 1; }
# The comment at the head of a script is its help, and the lines in it from "usage:" on are its usage.
help() { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$SCRIPT"; }
usage() { help | sed -n '/^usage:/,$p'; }
# refuse WHAT...: the command line is wrong.
refuse() { say "${0##*/}: $*"; usage >&2; exit 64; }
case ${1:-} in --help | -h) help; exit 0 ;; esac
# leave INSTANCE: for the end of a script; its servers end too, unless they are to be kept, which is said.
leave() {
    if [ -z "${RAPPORT_KEEP:-}" ]; then scripts/infra down "$1"; return; fi
    say "PostgreSQL and RabbitMQ of the instance '$1' were kept and still run; 'scripts/infra down $1' ends them:"
    scripts/infra status "$1" >&2 || :
}
# need COMMAND HINT: stop unless COMMAND is there.
need() { command -v "$1" >/dev/null || fail "'$1' is missing: ${2:-run scripts/bootstrap}"; }
now() { echo "${EPOCHREALTIME/[.,]/}"; } # microseconds
elapsed() { local us=$(($(now) - $1)); printf '%d.%d s' $((us / 1000000)) $((us / 100000 % 10)); }
# wait_until SECONDS WHAT COMMAND...: poll until COMMAND succeeds; says every 5 s that it still waits.
wait_until() {
    local start end what=$2 told=0; start=$(now) end=$((start + $1 * 1000000)); shift 2
    until "$@"; do
        [ "$(now)" -lt $end ] || return 1
        if [ $((($(now) - start) / 5000000)) -gt $told ]; then
            told=$((told + 1)); say "$what: still waiting ($(elapsed "$start"))"
        fi
        sleep 0.05
    done
}
from_caller() { (cd "$CALLER_DIR" && realpath -m -- "$1"); }

# Everything the scripts keep outside the checkout: clusters, logs, tools. Root's home is closed to
# the unprivileged account that runs the servers, hence a place of its own for root.
if [ "$(id -u)" = 0 ]; then default_state=/var/lib/rapport-dev
else default_state=${XDG_STATE_HOME:-$HOME/.local/state}/rapport; fi
STATE=${RAPPORT_STATE:-$default_state}
# Server configuration and Erlang's arguments are split at blanks and quotes.
[[ $STATE =~ ^/[A-Za-z0-9/._-]+$ ]] || fail "RAPPORT_STATE must be an absolute path of plain characters, not '$STATE'"

# One cargo profile for tests, demo and lint, so that dependencies are compiled once.
PROFILE=ci
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$ROOT/target}
BINARY=$CARGO_TARGET_DIR/$PROFILE/rapport-all-in-one
# Queries are checked against the committed .sqlx data, never against a live database.
export SQLX_OFFLINE=true
command -v cargo >/dev/null || PATH=$PATH:$HOME/.cargo/bin

# The whole workspace is selected so that features resolve as in the test run: nothing compiles twice.
build_binary() {
    say "building rapport-all-in-one (profile $PROFILE; the first build takes several minutes)"
    cargo build --workspace --profile "$PROFILE" --bin rapport-all-in-one
}

# The folder of the newest PostgreSQL >= 15 server; Debian keeps initdb off the PATH.
postgres_bin() {
    local dir version
    for dir in ${RAPPORT_PG_HOME:+"$RAPPORT_PG_HOME/bin"} \
        $(printf '%s\n' /usr/lib/postgresql/*/bin | sort -t/ -k5,5nr) \
        "$(dirname "$(command -v initdb || echo /none/initdb)")"; do
        [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] || continue
        version=$("$dir/postgres" --version | sed -E 's/^[^0-9]*([0-9]+).*/\1/')
        [ "$version" -ge 15 ] && { echo "$dir"; return; }
    done
    return 1
}

# Debian's server script itself: the wrapper on the PATH insists on the system's rabbitmq account.
RABBITMQ_SERVER=/usr/lib/rabbitmq/bin/rabbitmq-server

TOOLS=$STATE/tools # what scripts/bootstrap --check-tools installs
PATH=$PATH:$TOOLS/venv/bin:$TOOLS/node_modules/.bin:$TOOLS/cargo/bin
