#!/usr/bin/env bash
# Checks and tests Lockstep.
#
#   ./run_tests.sh [check|test|cluster|bench|soak|all] [pytest arguments]
#
#   check     formatter, linter, types and import contracts; no tests
#   test      the quick rings: unit, contract, properties; no real processes
#   cluster   the tests that start, kill and restart real clusters
#   bench     the benchmark; `bench peers` measures Lockstep beside other stores (bench peers --help)
#   soak      the long forms of the tests that have one
#   all       check, every test with its long form, and the benchmark
#
# Without a word: check and every ring, side by side. Arguments for pytest may follow: ./run_tests.sh test -k lock
set -u

root=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")" && pwd -P) || exit 1
cd -- "$root" || exit 1
. "$root/local_cluster/venv.sh" || exit 1

word=default
case ${1-} in
    check | test | cluster | bench | soak | all)
        word=$1
        shift
        ;;
    -h | --help)
        sed -n '2,/^set/{/^#/s/^# \{0,1\}//p;}' "${BASH_SOURCE[0]}"
        exit 0
        ;;
    "" | -* | tests*) ;;
    *)
        echo "run_tests.sh: $1 is none of check, test, cluster, bench, soak and all; see --help" >&2
        exit 2
        ;;
esac

given=$#
ensure_venv "$root" dev
bin="$root/.venv/bin"
# Programs start hundreds of times: what was compiled of them is kept, also where a shell says otherwise.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$root/.venv/bytecode"
pytest=("$bin/python" -m pytest --dist loadfile --no-loadscope-reorder)
failed=""

# part NAME COMMAND...: runs one part; the others run even if it fails, so that one look shows every fault.
part() {
    local name=$1
    shift
    echo "== $name"
    "$@" || failed="$failed, $name"
}

beside="" # the process of what runs beside the others
scratch=() # what to remove in the end
clean_up() {
    if [ -n "$beside" ]; then
        # Its workers stop their clusters when they are interrupted; Ctrl-C has interrupted them already.
        # shellcheck disable=SC2046 - one word for each process
        [ -n "$interrupted" ] || kill -INT "$beside" $(cat "/proc/$beside/task/$beside/children")
        wait "$beside"
    fi 2>/dev/null
    [ "${#scratch[@]}" = 0 ] || rm -rf -- "${scratch[@]}"
}
interrupted=""
trap clean_up EXIT
trap 'interrupted=yes; exit 130' INT
trap 'exit 143' TERM

check() {
    part "ruff check" "$bin/ruff" check .
    part "ruff format" "$bin/ruff" format --check .
    part "mypy" "$bin/mypy"
    part "import contracts" "$bin/lint-imports"
}

# unless_empty COMMAND...: a run that finds nothing to do, because the arguments ask for other tests, is no failure.
unless_empty() {
    local ended=0
    "$@" || ended=$?
    [ "$ended" = 5 ] && [ "$given" -gt 0 ] && ended=0
    return "$ended"
}

# memory_folder: makes a folder in memory and prints its name; nothing where memory is short or is no file system.
memory_folder() {
    local kib=$((4 * 1024 * 1024))
    [ "$(stat -f -c %T /dev/shm 2>/dev/null)" = tmpfs ] \
        && [ "$(df --output=avail /dev/shm | tail -n 1)" -gt "$kib" ] \
        && [ "$(sed -n 's/^MemAvailable: *\([0-9]*\) kB$/\1/p' /proc/meminfo)" -gt "$((2 * kib))" ] \
        && mktemp -d /dev/shm/lockstep-tests.XXXXXX
}

# quick MARKS ARGUMENTS...: the rings without real clusters share all processors. They flush thousands of times and cut
# no power, so their files are in memory if they can be. Clusters have real disks, whose flushes take time.
quick() {
    local folder=${TMPDIR-}
    [ -n "$folder" ] || folder=$(memory_folder)
    [ "$folder" = "${TMPDIR-}" ] || scratch+=("$folder")
    TMPDIR=$folder part "pytest, quick rings" unless_empty "${pytest[@]}" -m "not cluster and $1" -n logical "${@:2}"
}

# cluster_files ARGUMENTS...: prints where the tests with real clusters are, unless the arguments name files. Each worker
# looks through every file otherwise, which takes longer than some of the tests.
cluster_files() {
    local argument
    for argument; do
        [ ! -e "${argument%%::*}" ] || return 0
    done
    printf '%s\n' tests/cluster
    grep -rl --include='test_*.py' 'pytest\.mark\.cluster' tests | grep -v '^tests/cluster/'
}

# clusters MARKS COUNT ARGUMENTS...: so many workers with a cluster each. Clusters mostly wait, so three fit; more would
# crowd each other out of the times that their tests watch. The long forms have the machine to themselves (0).
clusters() {
    # shellcheck disable=SC2046 - one word for each file
    part "pytest, cluster ring" unless_empty "${pytest[@]}" -m "cluster and $1" -n "$2" "${@:3}" $(cluster_files "${@:3}")
}

# everything ARGUMENTS...: the everyday run. The cluster ring runs beside the other parts, because it mostly waits and they
# mostly compute. They give way to it, so that the times that its tests watch stay true. What it prints comes last.
everything() {
    local printed
    printed=$(mktemp)
    scratch+=("$printed")
    # shellcheck disable=SC2046 - one word for each file
    TESTS_BESIDE=yes "${pytest[@]}" -m "cluster and not soak" -n 3 "$@" $(cluster_files "$@") >"$printed" 2>&1 &
    beside=$!
    renice -n 5 $$ >/dev/null 2>&1
    check
    quick "not soak" "$@"
    part "pytest, cluster ring" unless_empty wait "$beside"
    beside=""
    cat -- "$printed"
}

case $word in
    check) check ;;
    test) quick "not soak" "$@" ;;
    cluster) clusters "not soak" 3 "$@" ;;
    soak)
        quick soak --soak "$@"
        clusters soak 0 --soak "$@"
        ;;
    bench)
        module=benchmarks
        if [ "${1-}" = peers ]; then
            module=benchmarks.peers
            shift
        fi
        part "benchmark" "$bin/python" -m "$module" "$@"
        ;;
    all)
        check
        part "benchmark" "$bin/python" -m benchmarks
        quick "(soak or not soak)" --soak "$@"
        clusters "(soak or not soak)" 0 --soak "$@"
        ;;
    default) everything "$@" ;;
esac

if [ -n "$failed" ]; then
    echo "run_tests.sh: failed: ${failed#, }" >&2
    exit 1
fi
