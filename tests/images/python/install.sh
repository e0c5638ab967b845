#!/bin/sh
# Makes a virtual environment from locked requirements: install.sh FOLDER [PACKAGE TO LEAVE OUT].
# Runs in a build stage that is thrown away, as the network's settings and CA bundle are in it.
set -eu
. /context/client.sh

python3 -m venv /uv
/uv/bin/pip install --quiet --disable-pip-version-check uv==0.13.9

# A requirement's hashes and comments are indented below it.
awk -v leave_out="${2:-}" '
    /^[^ #]/ { skip = leave_out != "" && index($0, leave_out "==") == 1 }
    !skip
' /context/requirements.txt >/requirements.txt

/uv/bin/uv venv --quiet --python /usr/bin/python3 "$1"
# Compiled here, once: a container would compile into its own layer at every start.
/uv/bin/uv pip install --no-cache --compile-bytecode --require-hashes --python "$1/bin/python" \
    --requirements /requirements.txt
