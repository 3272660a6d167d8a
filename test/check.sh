#!/usr/bin/env bash
# Everything that is checked beside the tests.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== lint"
make -s lint
echo "== generated files are up to date"
before=$(git status --porcelain; git diff | sha256sum)
make -s generate
after=$(git status --porcelain; git diff | sha256sum)
if [ "$before" != "$after" ]; then
	git --no-pager diff --stat
	echo "make generate changes files: commit what it makes" >&2
	exit 1
fi
echo "== no breaking change of the protocol"
# The baseline is the last released tag; before the first release there is none.
if base=$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null); then
	go tool -modfile=tools.mod buf breaking --against ".git#tag=$base"
else
	echo "no release yet: nothing to compare with"
fi
echo "== modules"
go mod verify >/dev/null
go mod tidy -diff
echo "== arrows"
go test -count=1 ./test/arch/
echo "check: all good"
