#!/usr/bin/env bash
# Gets what the tests use: a C compiler for -race, PostgreSQL's and Redis' servers (never
# started or left running: tests start their own), and small tools. Missing programs are
# installed from the system's packages when this runs as root; otherwise it says what to do.
#
#   test/setup.sh            what `make test` needs
#   test/setup.sh --bench    also nginx and wrk
#   test/setup.sh --browser  also Chromium
set -euo pipefail

have() { command -v "$1" >/dev/null 2>&1; }
have_server() { compgen -G "/usr/lib/postgresql/*/bin/postgres" >/dev/null || { have initdb && have postgres; }; }
have_libc() { echo '#include <stdlib.h>' | gcc -E -xc - >/dev/null 2>&1; }

packages=()
need() { packages+=("$@"); }
have gcc && have_libc || need gcc libc6-dev
if [ -z "${SEKI_TEST_DATABASE_URL:-}" ]; then
	have_server || need postgresql
fi
have psql && have pg_dump || need postgresql-client
[ -n "${SEKI_TEST_REDIS_URL:-}" ] || have redis-server || need redis-server
have jq || need jq
have curl || need curl
have python3 || need python3
have git || need git
for arg in "$@"; do
	case $arg in
	--bench)
		have nginx || need nginx-light
		have wrk || need wrk
		have taskset || need util-linux
		;;
	--browser) have chromium || need chromium ;;
	*)
		echo "test/setup.sh: unknown argument $arg" >&2
		exit 2
		;;
	esac
done
[ ${#packages[@]} -gt 0 ] || exit 0

if ! have apt-get; then
	echo "The tests need: ${packages[*]} (names of Debian's packages). Install them by your system's means." >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "The tests need packages that are not installed. Run:  sudo apt-get install ${packages[*]}" >&2
	echo "or point SEKI_TEST_DATABASE_URL and SEKI_TEST_REDIS_URL at servers of yours." >&2
	exit 1
fi

echo "installing for the tests: ${packages[*]}"
# Packages start their servers on install; ours must not run.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
	printf '#!/bin/sh\nexit 101\n' >$policy
	chmod +x $policy
	trap 'rm -f $policy' EXIT
fi
mkdir -p /etc/postgresql-common
[ -e /etc/postgresql-common/createcluster.conf ] || echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends "${packages[@]}"; } >"$log" 2>&1; then
	tail -20 "$log" >&2
	echo "could not install: ${packages[*]}" >&2
	exit 1
fi
rm -f "$log"
