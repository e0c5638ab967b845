# Makes a cluster in the container as the image's user `postgres`, unless there is one, and serves it: until stdin
# ends if SERVE says how to do that, else as the container's first process.
set -eu
as_postgres() { if command -v gosu >/dev/null; then gosu postgres "$@"; else su-exec postgres "$@"; fi; }
mkdir -p /cluster/socket
if [ ! -e /cluster/complete ]; then
    rm -rf /cluster/data
    mkdir /cluster/data
    chown postgres /cluster /cluster/data
    chmod 700 /cluster/data
    as_postgres initdb --username rdsadmin --auth trust --encoding UTF8 --locale en_US.UTF-8 \
        --no-sync --no-instructions -D /cluster/data </dev/null
    printf '%s\nunix_socket_permissions = 0777\n' "$SETTINGS" >>/cluster/data/postgresql.conf
    printf '%s\n' "$ACCESS" >/cluster/data/pg_hba.conf
    if [ -e /drawbridge/server.key ]; then
        cp /drawbridge/server.crt /drawbridge/server.key /cluster
        chown postgres /cluster/server.* /cluster/socket
        chmod 600 /cluster/server.key
    fi
    printf '%s\n' "$EXTRAS" | as_postgres postgres --single -D /cluster/data postgres
    touch /cluster/complete
fi
set -- postgres -D /cluster/data
if [ -n "${SERVE:-}" ]; then
    set -- sh -c "$SERVE" serve "$@"
fi
if command -v gosu >/dev/null; then
    exec gosu postgres "$@"
fi
exec su-exec postgres "$@"
