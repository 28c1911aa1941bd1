#!/usr/bin/env bash
# Checks what a user inherits: a new module that imports only backoff must require
# this module and nothing else, and compile nothing else.
. "$(dirname "$0")/lib.sh"
scratch

ours=github.com/connhygiene/connhygiene
cat >"$tmp/main.go" <<-EOF
	package main

	import "$ours/backoff"

	func main() { _ = backoff.Policy{} }
EOF
# The replacement must not be written with a ~ or a symlink, which mktemp has on macOS.
(
	cd "$tmp"
	go mod init example.com/consumer
	go mod edit -replace "$ours=$root"
	go mod tidy
	go build -o /dev/null .
) || fail "a module that imports backoff does not build"

required=$(awk '/^require \(/ {block = 1; next} /^\)/ {block = 0} block {print $1} /^require [^(]/ {print $2}' "$tmp/go.mod")
[ "$required" = "$ours" ] || fail "importing backoff requires: $required"
compiled=$(cd "$tmp" && go list -deps -f '{{with .Module}}{{.Path}}{{end}}' . | sort -u | tr '\n' ' ')
[ "$compiled" = "example.com/consumer $ours " ] || fail "importing backoff compiles: $compiled"
echo "importing backoff requires $required and nothing else"
