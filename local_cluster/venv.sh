# Sourced by run_cluster.sh and run_tests.sh: prepares .venv, or prints one sentence and exits.
#
# The shell alone handles the common case, a .venv that is ready, without a process: a warm start may take five seconds
# in all. Otherwise the first Python that is new enough runs environment.py.

# ensure_venv ROOT run|dev: exits with 3 or 4 when it cannot prepare .venv.
ensure_venv() {
    local root=$1 kind=$2 wanted stamp candidate tried=
    wanted="$root"$'\n'"$(<"$root/setup.cfg")"
    if [ -x "$root/.venv/bin/python" ]; then
        for stamp in "$root/.venv/lockstep-dev.stamp" "$root/.venv/lockstep-$kind.stamp"; do
            if [ -f "$stamp" ] && [ "$(<"$stamp")" = "$wanted" ]; then
                return 0
            fi
        done
    fi
    for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            "$candidate" "$root/local_cluster/environment.py" "$root" "$kind" || exit $?
            return 0
        fi
        tried="$tried $candidate"
    done
    echo "Lockstep needs Python 3.11 or newer, and this machine has${tried:+ only}${tried:- none}:" \
        "install it (Debian and Ubuntu: apt install python3 python3-venv), then run this command again." >&2
    exit 3
}
