#!/usr/bin/env bash
# Removes the service, and ends its executions. What it kept stays in /var/lib/hpcwaas: it belongs to its users.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || exec sudo --non-interactive bash "$0"

systemctl disable --quiet --now hpcwaas
systemctl kill --kill-whom=all hpcwaas 2> /dev/null || true # when there is nothing left
rm -rf /etc/systemd/system/hpcwaas.service /etc/systemd/system/hpcwaas.service.d /etc/hpcwaas-api /opt/hpcwaas
systemctl daemon-reload
