# Makes a cluster in the container as the image's user `postgres` and serves it until stdin ends.
set -eu
mkdir -p /cluster/data
chown postgres /cluster /cluster/data
chmod 700 /cluster/data
as_postgres() { if command -v gosu >/dev/null; then gosu postgres "$@"; else su-exec postgres "$@"; fi; }
as_postgres initdb --username rdsadmin --auth trust --encoding UTF8 --locale en_US.UTF-8 \
    --no-sync --no-instructions -D /cluster/data </dev/null
printf '%s\nunix_socket_permissions = 0777\n' "$SETTINGS" >>/cluster/data/postgresql.conf
printf '%s\n' "$ACCESS" >/cluster/data/pg_hba.conf
printf '%s\n' "$EXTRAS" | as_postgres postgres --single -D /cluster/data postgres
if command -v gosu >/dev/null; then
    exec gosu postgres sh -c "$SERVE" serve postgres -D /cluster/data
fi
exec su-exec postgres sh -c "$SERVE" serve postgres -D /cluster/data
