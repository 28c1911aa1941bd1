#!/usr/bin/env bash
# Checks what needs no test: format, vet, staticcheck, tidy modules, current
# idioms, and this repository's own rules (tools/treecheck).
#
#   EXAMPLES=report   names without an Example are only printed; else they fail
. "$(dirname "$0")/lib.sh"

echo "-- the tools' own tests"
go -C tools test ./... || fail "the tools' own tests"

echo "-- treecheck"
examples=${EXAMPLES:-fail}
findings=$(go -C tools run ./treecheck -examples "$examples" ..) || {
	printf '%s\n' "$findings"
	if [ "$examples" = report ]; then findings=$(grep -v ': examples: ' <<<"$findings"); fi
	fail "treecheck: $(head -n 1 <<<"$findings")"
}
[ -z "$findings" ] || printf '%s\n' "$findings"

echo "-- words"
words=$(go -C tools run ./words ..) || {
	printf '%s\n' "$words"
	fail "words: $(tail -n 1 <<<"$words")"
}

echo "-- the workflow"
tool actionlint || fail "the workflow"

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
