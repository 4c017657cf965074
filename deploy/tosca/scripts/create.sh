#!/usr/bin/env bash
# Installs the service: PACKAGE is what pip is asked for; `unit` is the artifact, where the orchestrator has put it.
set -euo pipefail
[ "$(id -u)" -eq 0 ] || exec sudo --non-interactive --preserve-env=PACKAGE,unit bash "$0"

unit=${unit:-$(dirname "$0")/../hpcwaas.service}
id hpcwaas > /dev/null 2>&1 || useradd --system --home-dir /var/lib/hpcwaas --shell /usr/sbin/nologin hpcwaas
[ -x /opt/hpcwaas/bin/python ] || python3 -m venv /opt/hpcwaas
/opt/hpcwaas/bin/python -m pip --disable-pip-version-check install --quiet "$PACKAGE"
install -D --mode=0644 "$unit" /etc/systemd/system/hpcwaas.service
systemctl daemon-reload
