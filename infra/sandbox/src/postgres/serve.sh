# Runs the server given as arguments, and ends it (fast shutdown) as soon as stdin does.
exec 3<&0
"$@" </dev/null 3<&- &
server=$!
{
    while read -r _; do :; done
    kill -INT "$server"
    tries=0
    while kill -0 "$server" 2>/dev/null && [ "$tries" -lt 50 ]; do
        sleep 0.1
        tries=$((tries + 1))
    done
    kill -QUIT "$server" 2>/dev/null
} <&3 &
watcher=$!
exec 3<&-
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
wait "$watcher" 2>/dev/null
exit "$status"
