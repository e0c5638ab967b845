# Given the id of a run, whether it has containers (`docker` or nothing) and a folder or nothing: waits until stdin ends,
# then removes the folder, and every container, network and volume with the run's label, and nothing else. A line on stdin
# tells that the tests have ended; without one they were cut off.
trap '' HUP INT QUIT PIPE TERM TTOU
label="drawbridge.run=$1"
pause=1
left=
if ! read -r _; then
    # What the engine was asked for just now may appear a moment later.
    pause=2
fi
# Where only `cargo xtask test` was killed, the tests go on; and what they share, as the original of moto's servers, outlives
# them for a moment. All are told by what the run has put into their environment.
grep -slzFx -e "DRAWBRIDGE_TEST_RUN=$1" -e "DRAWBRIDGE_TEST_DIR=${3:-none}" /proc/[0-9]*/environ | while read -r environ; do
    process=${environ#/proc/}
    kill "${process%/environ}" 2>/dev/null
done
if [ -n "$3" ]; then
    # A server that ends meanwhile still writes its last files.
    rm -rf "$3" 2>/dev/null || { sleep "$pause" && rm -rf "$3"; }
    if [ -e "$3" ]; then
        echo "error: \`$3\` is left, and takes room" >&2
        left=yes
    fi
fi
# With a status of its own: `exit` alone would hand on that of the test before it.
if [ "$2" != docker ]; then
    [ -z "$left" ] || exit 1
    exit 0
fi

clean=0
rounds=0
found=
# Ids and names have no spaces.
# shellcheck disable=SC2086
while [ "$clean" -lt 2 ] && [ "$rounds" -lt 30 ]; do
    [ "$rounds" -eq 0 ] || sleep "$pause"
    rounds=$((rounds + 1))
    if ! containers=$(docker ps --all --quiet --filter "label=$label" 2>/dev/null) ||
        ! networks=$(docker network ls --quiet --filter "label=$label" 2>/dev/null) ||
        ! volumes=$(docker volume ls --quiet --filter "label=$label" 2>/dev/null); then
        clean=0
    elif [ -z "$containers$networks$volumes" ]; then
        clean=$((clean + 1))
    else
        clean=0
        found=yes
        [ -z "$containers" ] || docker rm --force --volumes $containers >/dev/null 2>&1
        [ -z "$networks" ] || docker network rm $networks >/dev/null 2>&1
        [ -z "$volumes" ] || docker volume rm --force $volumes >/dev/null 2>&1
    fi
done
if [ "$clean" -lt 2 ]; then
    echo "error: something with the label \`$label\` may be left; see \`docker ps --all --filter label=$label\`, and" \
        "\`docker network ls\` and \`docker volume ls\` with the same filter" >&2
    exit 1
fi
[ -z "$left" ] || exit 1
[ -z "$found" ] || echo "test: removed what the container tests had left (label \`$label\`)" >&2
