#!/usr/bin/env bash
# Stops the service. Executions go on; `delete` ends them.
set -euo pipefail
if [ "$(id -u)" -eq 0 ]; then as_root=(); else as_root=(sudo --non-interactive); fi

"${as_root[@]}" systemctl stop hpcwaas
