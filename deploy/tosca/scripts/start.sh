#!/usr/bin/env bash
# Starts the service, now and whenever the machine starts; gives the attribute `url`.
set -euo pipefail
if [ "$(id -u)" -eq 0 ]; then as_root=(); else as_root=(sudo --non-interactive); fi

"${as_root[@]}" systemctl enable --quiet hpcwaas
"${as_root[@]}" systemctl restart hpcwaas
address=$(hostname -I 2> /dev/null | awk '{print $1}')
# Orchestrators read it from the environment that a script leaves.
export url="http://${address:-127.0.0.1}:$PORT"
export URL=$url
