# Runs the server given as arguments, and ends it (fast shutdown) as soon as stdin does.
trap '' QUIT # The last resort, an immediate shutdown, is for the server; it sets its own handler.
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{
    while read -r _; do :; done
    # A server that has no handlers yet ignores INT, as all background commands do; TERM ends it even then.
    kill -TERM "$server"
    kill -INT "$server"
} <&3 &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
