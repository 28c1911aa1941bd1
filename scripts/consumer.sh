#!/usr/bin/env bash
# Checks what a user inherits: a new module that imports only backoff must require
# this module and nothing else, and compile nothing else. And a module that exists
# already, at the oldest Go release and requirements that we promise to leave alone,
# gets one line in its go.mod, our own, whichever package it imports.
. "$(dirname "$0")/lib.sh"
scratch

ours=github.com/connhygiene/connhygiene

# program DIR PACKAGE...: a program in DIR that imports these packages of ours.
program() {
	mkdir -p "$1"
	printf 'package main\n\nimport (\n' >"$1/main.go"
	printf '\t_ "%s"\n' "${@:2}" >>"$1/main.go"
	printf ')\n\nfunc main() {}\n' >>"$1/main.go"
}

# compiled DIR: the modules that the program in DIR is made of.
compiled() {
	(cd "$1" && go list -deps -f '{{with .Module}}{{.Path}}{{end}}' . | sort -u | tr '\n' ' ')
}

program "$tmp/new" "$ours/backoff"
# The replacement must not be written with a ~ or a symlink, which mktemp has on macOS.
(
	cd "$tmp/new"
	go mod init example.com/consumer
	go mod edit -replace "$ours=$root"
	go mod tidy
	go build -o /dev/null .
) || fail "a module that imports backoff does not build"

required=$(awk '/^require \(/ {block = 1; next} /^\)/ {block = 0} block {print $1} /^require [^(]/ {print $2}' "$tmp/new/go.mod")
[ "$required" = "$ours" ] || fail "importing backoff requires: $required"
made=$(compiled "$tmp/new")
[ "$made" = "example.com/consumer $ours " ] || fail "importing backoff compiles: $made"
echo "importing backoff requires $required and nothing else"

# The module that exists already: it requires and uses what we do, in these versions.
program "$tmp/old" golang.org/x/sync/errgroup golang.org/x/time/rate github.com/stretchr/testify/require
cat >"$tmp/old/go.mod" <<-EOF
	module example.com/consumer

	go 1.25.0

	require (
		github.com/stretchr/testify v1.10.0
		golang.org/x/sync v0.17.0
		golang.org/x/time v0.12.0
	)
EOF
(cd "$tmp/old" && go mod tidy && go build -o /dev/null .) || fail "the consumer of the bill does not build without us"

# bill PACKAGE...: what changes in its go.mod, beyond our line and its replacement.
bill() {
	rm -rf "$tmp/paying"
	cp -r "$tmp/old" "$tmp/paying"
	program "$tmp/paying" golang.org/x/sync/errgroup golang.org/x/time/rate github.com/stretchr/testify/require "$@"
	(
		cd "$tmp/paying" &&
			go mod edit -replace "$ours=$root" -require "$ours@v0.0.0" &&
			go mod tidy &&
			go build -o /dev/null .
	) || return
	diff "$tmp/old/go.mod" "$tmp/paying/go.mod" | grep '^[<>] *[^ ]' | grep -v -F "$ours" || true
}
all=$(go list ./... | grep -vE "^$ours(/internal/.*|/examples/.*)?$" | tr '\n' ' ')
for importing in "$ours/backoff" "$all"; do
	# shellcheck disable=SC2086
	changed=$(bill $importing) || fail "a module at go 1.25.0 that imports $importing does not build"
	[ -z "$changed" ] || fail "importing $importing changes a module at go 1.25.0: $changed"
	echo "a module at go 1.25.0, testify 1.10, x/sync 0.17, x/time 0.12 that imports ${importing//"$ours/"/}: one line"
done
