#!/usr/bin/env bash
# Starts, shows and stops a Lockstep cluster on this machine; see ./run_cluster.sh --help.
# Needs Python 3.11 or newer and, the first time, a package registry.
set -u

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P) || exit 1
for argument in "$@"; do
    case $argument in
        -h | --help) exec cat "$root/local_cluster/help.txt" ;;  # help must not install anything
    esac
done
. "$root/local_cluster/venv.sh" || exit 1

ensure_venv "$root" run
# -P: never import from the user's current folder.
exec "$root/.venv/bin/python" -P -m local_cluster "$@"
