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
now=$(date +%s)
idle=$((now - $(stat --format %Y "$seen")))
# A clock that was set back is nobody's absence.
[ "$idle" -ge 0 ] || touch "$seen"
[ "$idle" -ge "$limit" ] || exit 0

# `bastion extend` and `bastion keep` set a tag, which the instance may read without any right.
imds=http://169.254.169.254/latest
token=$(curl --silent --max-time 3 --request PUT --header 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/api/token") || token=
answer=$(curl --silent --max-time 3 --header "X-aws-ec2-metadata-token: $token" --write-out ' %{http_code}' \
  "$imds/meta-data/tags/instance/drawbridge:keep-until") || answer=' 000'
until=${answer% *}
case ${answer##* } in
200)
  if [ "$until" = always ]; then
    echo "idle for $idle seconds, but kept"
    exit 0
  fi
  # What is no date keeps nothing: a tag is anybody's to write, and the bill is the owner's.
  if end=$(date --date "$until" +%s 2>/dev/null) && [ "$end" -gt "$now" ]; then
    echo "idle for $idle seconds, but extended until $until"
    exit 0
  fi
  ;;
404) ;;
*)
  # No answer is not "no"; but without metadata there are no sessions either, so it does not last for ever.
  if [ "$idle" -lt $((limit + 600)) ]; then
    echo "idle for $idle seconds; the instance metadata do not answer, looking again"
    exit 0
  fi
  ;;
esac
echo "no session for $idle seconds: stopping"
shutdown --poweroff now
