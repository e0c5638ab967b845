#!/bin/bash
# Runs at the first start; running it again changes nothing but the end of an ephemeral bastion, which begins anew.
set -uo pipefail

install -d -m 755 /etc/motd.d
cat >/etc/motd.d/drawbridge <<'MESSAGE'
@MESSAGE@
MESSAGE

# Session Manager's shells read no message of the day by themselves.
cat >/etc/profile.d/drawbridge.sh <<'PROFILE'
case $- in
*i*) [ -n "${SSH_CONNECTION:-}" ] || cat /etc/motd.d/drawbridge ;;
esac
PROFILE
chmod 644 /etc/motd.d/drawbridge /etc/profile.d/drawbridge.sh

# Minutes; 0 if nothing but the idle timer ends it. Before all else: this end must come whatever fails.
ttl='@TTL@'
if [ "$ttl" -gt 0 ]; then
  shutdown --poweroff "+$ttl"
fi

# Seconds; 0 if it is never to stop by itself.
idle='@IDLE@'
# Before anything that needs the network: whatever fails below, the instance does not run on for nobody.
if [ "$idle" -gt 0 ]; then
  cat >/usr/local/sbin/drawbridge-idle <<'IDLE'
@IDLE_SCRIPT@
IDLE
  chmod 755 /usr/local/sbin/drawbridge-idle
  cat >/etc/systemd/system/drawbridge-idle.service <<'SERVICE'
@SERVICE@
SERVICE
  cat >/etc/systemd/system/drawbridge-idle.timer <<'TIMER'
@TIMER@
TIMER
  chmod 644 /etc/systemd/system/drawbridge-idle.service /etc/systemd/system/drawbridge-idle.timer
  systemctl daemon-reload
  systemctl enable --now drawbridge-idle.timer
fi

# The route out may be minutes younger than the instance.
for attempt in 1 2 3 4 5 6 7 8 9 10; do
  if dnf install --assumeyes --quiet postgresql16 jq; then
    exit 0
  fi
  echo "attempt $attempt to install postgresql16 and jq failed" >&2
  sleep $((attempt * 3))
done
exit 1
