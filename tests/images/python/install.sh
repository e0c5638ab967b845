#!/bin/sh
# Makes a virtual environment from locked requirements: install.sh FOLDER [PACKAGE TO LEAVE OUT].
# Runs in a build stage that is thrown away, as the network's settings and CA bundle are in it.
set -eu
# Written for each build.
# shellcheck source=/dev/null
. /context/client.sh

# pip from its wheel as Debian has it: it is wanted for one download only.
PYTHONPATH=$(echo /usr/share/python-wheels/pip-*.whl) \
    python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target /uv uv==0.13.9

# A requirement's hashes and comments are indented below it.
awk -v leave_out="${2:-}" '
    /^[^ #]/ { skip = leave_out != "" && index($0, leave_out "==") == 1 }
    !skip
' /context/requirements.txt >/requirements.txt

/uv/bin/uv venv --quiet --python /usr/bin/python3 "$1"
# Compiled here, once: a container would compile into its own layer at every start.
/uv/bin/uv pip install --no-cache --compile-bytecode --require-hashes --python "$1/bin/python" \
    --requirements /requirements.txt
