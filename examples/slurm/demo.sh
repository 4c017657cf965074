#!/usr/bin/env bash
# What a scientist does with a site, from a key to outputs. one_node.py starts a Slurm of one node behind an SSH server and
# runs this: `make demo-site`.
set -euo pipefail
cd "$(dirname "$0")/../.."
PATH="$PWD/.venv/bin:$PATH"

bold() { if [ -t 1 ]; then printf '\n\033[1m%s\033[0m\n' "$*"; else printf '\n%s\n' "$*"; fi; }
run() { bold "\$ $*"; eval "$*"; }

# A service of its own, on a free port, with its data and its profile for `waas` in a directory that goes away.
HOME_OF_DEMO=$(mktemp -d)
export HWA_DATA_DIR="$HOME_OF_DEMO/data" XDG_STATE_HOME="$HOME_OF_DEMO/state"
unset HW_API_URL HW_ACCESS_TOKEN HW_USER HW_CONFIG

# What `module load toil` is on a real site.
echo "export PATH='$SITE_TOIL':\$PATH" >"$HOME_OF_DEMO/laptop.sh"
cat >"$HOME_OF_DEMO/hpcwaas-api.yml" <<SETTINGS
sites:
  laptop:
    title: A Slurm of one node
    host: $SITE_HOST
    host_keys: [$SITE_HOST_KEY]
    scheduler: slurm
    runner: {command: [toil-cwl-runner], arguments: [--batchSystem, slurm]}
    prologue: $HOME_OF_DEMO/laptop.sh
    slurm: {partition: main, time: '00:10:00'}
SETTINGS
hpcwaas-api --config "$HOME_OF_DEMO/hpcwaas-api.yml" --listen-address 127.0.0.1:0 >"$HOME_OF_DEMO/service.log" 2>&1 &
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
bold "What the operator has written:"
sed -n '/^sites:/,$p' "$HOME_OF_DEMO/hpcwaas-api.yml"

run "waas sites list"

bold "An account is connected by a key. The key isn't installed there yet, and the check says so:"
run "waas sites connect laptop --user $SITE_USER >$HOME_OF_DEMO/line || echo \"exit code \$?\""

bold "Install it, as you would after signing in there, and check again:"
install -d -m 700 -o "$SITE_USER" "$SITE_HOME/.ssh"
run "install -m 600 -o $SITE_USER $HOME_OF_DEMO/line $SITE_HOME/.ssh/authorized_keys"
run "waas sites check laptop"

bold "Each step is a job of Slurm's:"
run "waas workflows trigger word-statistics --site laptop -i texts=@examples/data/alice.txt -i texts=@examples/data/pride-and-prejudice.txt -i top=5 --follow --logs"
run 'ID=$(waas executions list --limit 1 | cut -f 1)'
run 'waas executions status $ID'
run 'waas executions outputs $ID --download demo-results'
run "head -n 6 demo-results/*.csv"

bold "A long one, cancelled; no job is left:"
run "waas workflows trigger slow-count --site laptop -i seconds=60"
run 'ID=$(waas executions list --limit 1 | cut -f 1)'
until [ -n "$(squeue --noheader)" ]; do sleep 0.5; done
run 'waas executions status $ID'
run "squeue"
run 'waas executions cancel $ID'
until [ -z "$(squeue --noheader)" ]; do sleep 0.5; done
run "squeue"

bold "One that fails half-way and says why:"
run "waas workflows trigger failing-halfway --site laptop -i records=@examples/data/measurements.csv --follow || echo \"exit code \$?\""

bold "That was it. Everything that was started for it is stopped now."
