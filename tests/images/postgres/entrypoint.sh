#!/bin/bash
# Makes a cluster at the first start and serves it, with the variables and the folder that the official image knows:
# POSTGRES_USER, POSTGRES_PASSWORD, POSTGRES_DB, POSTGRES_HOST_AUTH_METHOD, POSTGRES_INITDB_ARGS, PGDATA and
# /docker-entrypoint-initdb.d.
set -euo pipefail

# Only options: they are the server's.
if [[ ${1:-} == -* ]]; then
    set -- postgres "$@"
fi
if [[ ${1:-} != postgres ]]; then
    exec "$@"
fi
if [[ $(id -u) == 0 ]]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    chown -R postgres "$PGDATA"
    exec gosu postgres "${BASH_SOURCE[0]}" "$@"
fi

user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}

run_sql() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --no-password --username "$user" --dbname "$1" "${@:2}"
}

make_cluster() {
    if [[ -z ${POSTGRES_PASSWORD:-} && $method != trust ]]; then
        echo "error: POSTGRES_PASSWORD is not set, and POSTGRES_HOST_AUTH_METHOD is not \`trust\`" >&2
        exit 1
    fi
    # What a container loses when the machine loses power, nobody misses.
    local options=(--no-sync --username "$user" --encoding UTF8 --auth-local trust --auth-host "$method")
    # Not in argv, and on no disk. An empty password is none.
    if [[ -n ${POSTGRES_PASSWORD:-} ]]; then
        exec 3< <(printf '%s\n' "$POSTGRES_PASSWORD")
        options+=(--pwfile /dev/fd/3)
    fi
    # Split on purpose: the variable holds options.
    # shellcheck disable=SC2206
    options+=(${POSTGRES_INITDB_ARGS:-})
    initdb "${options[@]}" --pgdata "$PGDATA"
    exec 3<&-
    printf "\nlisten_addresses = '*'\n" >>"$PGDATA/postgresql.conf"
    printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# What is in the folder sees the database on the socket, and nobody outside sees it half-made.
fill_cluster() {
    pg_ctl --pgdata "$PGDATA" --wait start --options "$(printf '%q ' "$@" -c listen_addresses=)"
    if [[ $database != postgres ]]; then
        run_sql postgres --set name="$database" <<<'CREATE DATABASE :"name"'
    fi
    local file
    for file in /docker-entrypoint-initdb.d/*; do
        case $file in
        *.sh)
            echo "running $file"
            # shellcheck disable=SC1090
            if [[ -x $file ]]; then "$file"; else . "$file"; fi
            ;;
        *.sql)
            echo "running $file"
            run_sql "$database" --file "$file"
            ;;
        *.sql.gz)
            echo "running $file"
            gunzip --stdout "$file" | run_sql "$database"
            ;;
        esac
    done
    pg_ctl --pgdata "$PGDATA" --wait --mode fast stop
}

if [[ ! -s $PGDATA/PG_VERSION ]]; then
    make_cluster
    fill_cluster "${@:2}"
fi
# The password has done its work; the server's environment need not hold it.
unset POSTGRES_PASSWORD
exec "$@"
