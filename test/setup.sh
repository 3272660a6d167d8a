#!/bin/sh
# Finds what the tests use and, as root on a Debian or Ubuntu, installs what is missing.
# Safe to run again: with everything there it only looks. No server is left running and no
# system cluster is made; tests start servers of their own.
#
#   test/setup.sh [--bench] [--browser]
#
#   --bench    also nginx and wrk, which benchmarks measure against and with
#   --browser  also chromium, which the console's tests drive
set -eu

bench=no
browser=no
for arg in "$@"; do
    case "$arg" in
    --bench) bench=yes ;;
    --browser) browser=yes ;;
    *)
        echo "setup.sh: unknown argument $arg; known are --bench and --browser" >&2
        exit 2
        ;;
    esac
done

have() { command -v "$1" >/dev/null 2>&1; }

# PostgreSQL keeps its server out of PATH, a folder for each version.
have_postgres() {
    have initdb && have postgres && return 0
    for dir in /usr/lib/postgresql/*/bin /usr/pgsql-*/bin; do
        [ -x "$dir/initdb" ] && [ -x "$dir/postgres" ] && return 0
    done
    return 1
}

# A compiler without the C library's headers cannot link race tests.
have_cc() {
    have gcc && printf '#include <stdlib.h>\n' | gcc -fsyntax-only -x c - 2>/dev/null
}

have_chromium() { have chromium || have chromium-browser || have google-chrome; }

need() { missing="$missing $*"; }

# look notes the packages of what is missing.
look() {
    missing=
    have_cc || need gcc libc6-dev
    have_postgres || [ -n "${SEKI_TEST_DATABASE_URL:-}" ] || need postgresql
    have redis-server || [ -n "${SEKI_TEST_REDIS_URL:-}" ] || need redis-server
    have python3 || need python3
    have jq || need jq
    have curl || need curl
    have promtool || need prometheus
    [ "$bench" = no ] || have nginx || [ -x /usr/sbin/nginx ] || need nginx-light
    [ "$bench" = no ] || have wrk || need wrk
    [ "$browser" = no ] || have_chromium || need chromium
}

look
[ -n "$missing" ] || exit 0

if ! have apt-get; then
    echo "setup.sh: missing:$missing (Debian's names); install them by your system's means, then run this again" >&2
    exit 1
fi
if [ "$(id -u)" != 0 ]; then
    echo "setup.sh: missing:$missing; run as root: apt-get install --no-install-recommends$missing" >&2
    exit 1
fi

# Packages start their services and make a cluster when they are set up. Both are kept from
# it while we install, and what was configured before is put back.
policy=/usr/sbin/policy-rc.d
clusters=/etc/postgresql-common/createcluster.conf
made_policy=no
made_clusters=no
undo() {
    [ "$made_policy" = no ] || rm -f "$policy"
    [ "$made_clusters" = no ] || rm -f "$clusters"
    # Where the package brought its own file, that takes its place.
    [ "$made_clusters" = no ] || [ ! -e "$clusters.dpkg-dist" ] || mv "$clusters.dpkg-dist" "$clusters"
}
trap undo EXIT
trap 'exit 1' INT TERM HUP

if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi
if [ ! -e "$clusters" ]; then
    mkdir -p "$(dirname "$clusters")"
    printf 'create_main_cluster = false\n' >"$clusters"
    made_clusters=yes
fi

echo "setup.sh: installing$missing" >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# The file that we made is a configuration file of a package: keep it without a question.
# shellcheck disable=SC2086 # the list is split on purpose
apt-get install -y -qq --no-install-recommends -o Dpkg::Options::=--force-confold $missing >/dev/null

look
if [ -n "$missing" ]; then
    echo "setup.sh: installed, but still not found:$missing" >&2
    exit 1
fi
