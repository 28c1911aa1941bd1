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
found=0
for package in $(go list -f '{{if or .TestGoFiles .XTestGoFiles}}{{.Dir}}{{end}}' ./...); do
	dir=.${package#"$root"}
	# shellcheck disable=SC2013
	for name in $(sed -nE 's/^func (Fuzz[A-Z][A-Za-z0-9_]*)\(.*/\1/p' "$dir"/*_test.go); do
		found=$((found + 1))
		status=0
		go test -run '^$' -fuzz "^$name\$" -fuzztime "${count}x" -timeout 5m "$dir" >"$tmp/log" 2>&1 || status=$?
		if [ $status -ne 0 ]; then
			cat "$tmp/log"
			fail "$name in $dir"
		fi
		printf '%-45s %s\n' "$dir $name" "$(grep '^fuzz: elapsed' "$tmp/log" | tail -1)"
	done
done
[ $found -gt 0 ] || fail "no fuzz test found"
