#!/usr/bin/env bash
# All of operation against real processes, and a line of counts. What `make test` runs of it is the
# same, but for the chart, whose tests are a module of their own.
set -uo pipefail
cd "$(dirname "$0")/.."
test/setup.sh || exit 1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# An S3 server for backups, where none is named.
if [ -z "${SEKI_TEST_VERSITYGW:-}" ]; then
	export SEKI_TEST_VERSITYGW="$PWD/.cache/versitygw"
	(cd test/s3 && go build -o "$SEKI_TEST_VERSITYGW" github.com/versity/versitygw/cmd/versitygw) || unset SEKI_TEST_VERSITYGW
fi

# run MODULE PACKAGES... runs tests and shows their verdicts.
run() {
	(cd "$1" && shift && go test -count=1 -timeout 20m -v "$@" 2>&1) | tee -a "$log" | grep -E '^ *(---|ok|FAIL|panic)|not run:'
}

run . ./test/ops ./ops/...
run . ./test/guide
run . -run 'Block|Store|HandOver|Explain' ./test/e2e
run . ./controlplane/block ./controlplane/store/movable ./dataplane/block
run test/helm ./...

count() { grep -cE "$1" "$log"; }
failed=$(count '^ *--- FAIL|^FAIL')
echo "ops: $(count '^ *--- PASS') passed, $failed failed, $(count '^ *--- SKIP|not run:') not run here"
[ "$failed" = 0 ]
