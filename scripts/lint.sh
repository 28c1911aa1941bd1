#!/usr/bin/env bash
# Checks what needs no test: format, vet, staticcheck, tidy modules, current
# idioms, and this repository's own rules (tools/treecheck).
#
#   EXAMPLES=report   names without an Example are printed and do not fail
. "$(dirname "$0")/lib.sh"

echo "-- the tools' own tests"
go -C tools test ./... || fail "the tools' own tests"

echo "-- treecheck"
go -C tools run ./treecheck -examples "${EXAMPLES:-fail}" .. || fail "treecheck: see the lines above"

echo "-- gofumpt"
unformatted=$(tool gofumpt -l .) || fail "gofumpt"
[ -z "$unformatted" ] || fail "not formatted with gofumpt: $unformatted"

for module in $(modules); do
	for check in "go vet ./..." "tool staticcheck ./..." "go mod tidy -diff" "go fix -diff ./..."; do
		echo "-- $module: ${check#tool }"
		(cd "$module" && $check) || fail "${check#tool } in module $module"
	done
done

if command -v shellcheck >/dev/null; then
	echo "-- shellcheck"
	shellcheck -e SC1091,SC2154 .ci/run scripts/*.sh || fail "shellcheck"
fi
