#!/usr/bin/env bash
# The whole job for one user on one machine, from a key to outputs. Everything that is typed here works against `make run`, too,
# by copy and paste in the top folder of this repository.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"

bold() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
run() { bold "\$ $*"; eval "$*"; }

# A service of its own, on a free port, with its data and its profile for `waas` in a directory that goes away.
HOME_OF_DEMO=$(mktemp -d)
export HWA_DATA_DIR="$HOME_OF_DEMO/data" XDG_STATE_HOME="$HOME_OF_DEMO/state"
unset HW_API_URL HW_ACCESS_TOKEN HW_USER HW_CONFIG
hpcwaas-api --listen-address 127.0.0.1:0 >"$HOME_OF_DEMO/service.log" 2>&1 &
SERVICE=$!
stop() {
  kill "$SERVICE" 2>/dev/null && wait "$SERVICE" 2>/dev/null
  rm -rf "$HOME_OF_DEMO" demo-results
}
trap 'status=$?; if [ $status -ne 0 ]; then tail -n 50 "$HOME_OF_DEMO/service.log" >&2; fi; stop; exit $status' EXIT
until [ -s "$XDG_STATE_HOME/waas/local.yaml" ]; do
  kill -0 "$SERVICE" 2>/dev/null || { echo "The service didn't start." >&2; exit 1; }
  sleep 0.1
done
HW_API_URL=$(sed -n 's/^api_url: *//p' "$XDG_STATE_HOME/waas/local.yaml")
HW_ACCESS_TOKEN=$(sed -n 's/^access_token: *//p' "$XDG_STATE_HOME/waas/local.yaml")
echo "The service runs at $HW_API_URL. To repeat this against \`make run\`, set HW_API_URL and HW_ACCESS_TOKEN as it prints them, and type:"
bold '$ . .venv/bin/activate'

run "waas ssh_keys key-gen --name demo"
run "waas workflows list"
run "waas workflows show word-statistics"
run "waas workflows trigger word-statistics -i texts=@examples/data/alice.txt -i texts=@examples/data/moby-dick.txt -i texts=@examples/data/pride-and-prejudice.txt -i top=5 --follow --logs"
run "waas executions list"
run 'ID=$(waas executions list --limit 1 | cut -f 1)'
run 'waas executions status $ID'
run 'waas executions outputs $ID'
run 'waas executions outputs $ID --download demo-results'
run "head -n 6 demo-results/*.csv"

bold "The same with curl:"
run "curl -s -H \"Authorization: Bearer \$HW_ACCESS_TOKEN\" \$HW_API_URL/executions/\$ID/outputs/total"
echo
run "curl -s -H \"Authorization: Bearer \$HW_ACCESS_TOKEN\" \$HW_API_URL/health/ready"

bold "A long one, cancelled:"
run "waas workflows trigger slow-count -i seconds=60"
run 'ID=$(waas executions list --limit 1 | cut -f 1)'
sleep 3
run 'waas executions logs $ID'
run 'waas executions cancel $ID'

bold "One that fails half-way and says why:"
run "waas workflows trigger failing-halfway -i records=@examples/data/measurements.csv --follow || echo \"exit code \$?\""

bold "That was it. Go on with: make run"
