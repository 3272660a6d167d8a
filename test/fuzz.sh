#!/usr/bin/env bash
# Runs every fuzz target in turn for FUZZTIME (default 20s); stops at the first finding.
set -euo pipefail
cd "$(dirname "$0")/.."
time=${FUZZTIME:-20s}
count=0
while IFS=: read -r file target; do
	dir=./$(dirname "$file")
	echo "== $dir $target"
	go test "$dir" -run '^$' -fuzz "^$target\$" -fuzztime "$time"
	count=$((count + 1))
done < <(git ls-files '*_test.go' | xargs grep -hoHE '^func Fuzz[A-Za-z0-9_]*' /dev/null | sed 's/func //')
echo "fuzz: $count targets, nothing found"
[ "$count" -gt 0 ]
