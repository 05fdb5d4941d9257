#!/usr/bin/env bash
# Starts, shows and stops a Lockstep cluster on this machine; ./run_cluster.sh --help says everything.
# Needs Python 3.11 or newer and, the first time, a package registry.
set -u

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P) || exit 1
. "$root/local_cluster/venv.sh" || exit 1

ensure_venv "$root" run
# -P: what lies in the user's current folder is never imported.
exec "$root/.venv/bin/python" -P -m local_cluster "$@"
