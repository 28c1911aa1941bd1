#!/usr/bin/env bash
# Runs each fuzz test of the root module for a moment.
#
#   FUZZ_COUNT=100000   inputs for each test
#
# A count and not a time: on Go 1.26 a fuzz test whose time ends can fail with
# "context deadline exceeded" and no input (golang/go#75804).
. "$(dirname "$0")/lib.sh"
scratch

count=${FUZZ_COUNT:-3000}
targets=$(grep -rE --include='*_test.go' '^func Fuzz[A-Z]' backoff ttlcache transport listener dbpool internal examples |
	sed -E 's|/[^/]*_test\.go:func (Fuzz[A-Za-z0-9_]*).*| \1|') || fail "no fuzz test found"
while read -r dir name; do
	status=0
	go test -run '^$' -fuzz "^$name\$" -fuzztime "${count}x" -timeout 5m "./$dir" >"$tmp/log" 2>&1 </dev/null || status=$?
	if [ $status -ne 0 ]; then
		cat "$tmp/log"
		fail "$name in $dir"
	fi
	printf '%-40s %s\n' "$dir $name" "$(grep '^fuzz: elapsed' "$tmp/log" | tail -1)"
done <<<"$targets"
