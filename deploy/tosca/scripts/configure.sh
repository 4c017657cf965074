#!/usr/bin/env bash
# Writes what the service needs to know: SETTINGS is its file, SECRETS are lines NAME=VALUE, PORT is where it listens.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || exec sudo --non-interactive --preserve-env=SETTINGS,SECRETS,PORT bash "$0"

umask 077
mkdir -p -m 755 /etc/hpcwaas-api /etc/systemd/system/hpcwaas.service.d
printf '%s\n' "$SETTINGS" > /etc/hpcwaas-api/hpcwaas-api.yml
chown root:hpcwaas /etc/hpcwaas-api/hpcwaas-api.yml
chmod 640 /etc/hpcwaas-api/hpcwaas-api.yml
printf 'HWA_LISTEN_ADDRESS=0.0.0.0:%s\nHWA_DATA_DIR=/var/lib/hpcwaas\n%s\n' "$PORT" "${SECRETS:-}" > /etc/hpcwaas-api/environment
printf '[Service]\nEnvironmentFile=/etc/hpcwaas-api/environment\n' > /etc/systemd/system/hpcwaas.service.d/tosca.conf
systemctl daemon-reload

# A mistake is told here, and a database of an earlier version is brought up to date.
install -d --owner=hpcwaas --group=hpcwaas --mode=0700 /var/lib/hpcwaas
while IFS= read -r line; do
  [ -z "$line" ] || export "${line?}"
done < /etc/hpcwaas-api/environment
unset SETTINGS SECRETS
cd /
runuser --user=hpcwaas -- /opt/hpcwaas/bin/hpcwaas-api db upgrade
runuser --user=hpcwaas -- /opt/hpcwaas/bin/hpcwaas-api config check
