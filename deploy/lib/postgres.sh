# shellcheck shell=bash disable=SC2034 # what is set here is used by backup and restore
# A PostgreSQL server of an installation: at an address, or in a pod that kubectl reaches.

# read_place ARGS...: sets FOLDER, SERVICES, URL or NAMESPACE and POD, and OPTIONS with what it does not know.
read_place() {
    FOLDER="" URL="" NAMESPACE="" POD=postgres-0 SERVICES=() OPTIONS=()
    while [ $# -gt 0 ]; do
        case $1 in
        --url | --namespace | --pod)
            [ $# -gt 1 ] || refuse "$1 wants a value"
            case $1 in --url) URL=$2 ;; --namespace) NAMESPACE=$2 ;; --pod) POD=$2 ;; esac
            shift ;;
        --replace) [[ $SCRIPT = */restore ]] || refuse "unknown option '$1'"; OPTIONS+=("$1") ;;
        -*) refuse "unknown option '$1'" ;;
        *)
            if [ -z "$FOLDER" ]; then FOLDER=$(from_caller "$1")
            else
                [[ $1 =~ ^[a-z][a-z0-9-]*$ ]] || refuse "'$1' is no name of a service"
                SERVICES+=("$1")
            fi ;;
        esac
        shift
    done
    [ -n "$FOLDER" ] || refuse "which folder?"
    if [ -n "$URL" ] && [ -n "$NAMESPACE" ]; then refuse "either --url or --namespace, not both"
    elif [ -n "$URL" ]; then PG=$(postgres_bin) || fail "no PostgreSQL 15 or newer here: run scripts/bootstrap"
    elif [ -n "$NAMESPACE" ]; then need kubectl "install it"
    else refuse "where is the server: --url or --namespace?"; fi
}

# address DATABASE: URL with that database in it, before what stands behind a question mark.
address() { local server=${URL%%\?*}; echo "${server%/}/$1${URL:${#server}}"; }
# on DATABASE PROGRAM ARGS...: a program of PostgreSQL's against that database, as the superuser.
on() {
    local database=$1 program=$2; shift 2
    if [ -n "$URL" ]; then "$PG/$program" --dbname "$(address "$database")" "$@"
    else kubectl --namespace "$NAMESPACE" exec -i "$POD" -- "$program" --username postgres --dbname "$database" "$@"; fi
}
sql() { local database=$1; shift; on "$database" psql --no-psqlrc --set ON_ERROR_STOP=1 "$@"; }
ask() { sql "$1" -qAt --command "$2" </dev/null; }
dump() { on "$1" pg_dump --format custom --snapshot "$2" </dev/null; }
k() { kubectl --namespace "$NAMESPACE" "$@"; }

# Databases with our journal in them. Identity publishes the policy that all others follow, so it is first.
services_there() {
    local database databases there
    databases=$(ask postgres "select datname from pg_database where datallowconn and not datistemplate order by datname <> 'identity', datname") ||
        fail "the server's databases could not be listed"
    for database in $databases; do
        there=$(ask "$database" "select to_regclass('kit.journal') is not null") ||
            fail "the database $database cannot be looked into: name the services to back up"
        [ "$there" = f ] || echo "${database//_/-}"
    done
}

# A line for each table: its name, rows, and the sum of the rows' hashes, which no order changes. The partitions of a
# table are counted with it, because upkeep adds some by itself.
checksums() {
    cat <<'SQL'
select format('select %L, count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) from %s t', c.oid::regclass, c.oid::regclass)
  from pg_class c where c.relkind in ('r', 'p') and not c.relispartition
    and c.relnamespace in (select oid from pg_namespace where nspname not like 'pg\_%' and nspname <> 'information_schema')
  order by c.oid::regclass::text collate "C" \gexec
SQL
}

# Page tokens, secrets and the seal of a service are bound to its sealing secret: a copy without it cannot be verified.
keep_sealing() {
    [ -n "$NAMESPACE" ] || return 0
    k get secret "$1-secrets" -o 'go-template={{.data.sealing | base64decode}}' >"$FOLDER/$1.sealing" 2>/dev/null ||
        { rm -f "$FOLDER/$1.sealing"; say "$1: its sealing secret could not be read; keep it by other means"; }
}
