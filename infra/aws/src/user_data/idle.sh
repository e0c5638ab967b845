#!/bin/bash
# Stops the instance when no Session Manager session has run for so many seconds: `drawbridge-idle SECONDS`.
set -euo pipefail
limit=$1
# In memory, so that a restart begins anew. Its date is when somebody was last here.
seen=/run/drawbridge-idle

# The agent starts one worker a session, shells and port forwards alike.
if pgrep --full '^([^ ]*/)?ssm-session-worker( |$)' >/dev/null || ! [ -e "$seen" ]; then
  touch "$seen"
  exit 0
fi
idle=$(($(date +%s) - $(stat --format %Y "$seen")))
# A clock that was set back is nobody's absence.
[ "$idle" -ge 0 ] || touch "$seen"
[ "$idle" -ge "$limit" ] || exit 0
echo "no session for $idle seconds: stopping"
shutdown --poweroff now
