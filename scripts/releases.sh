#!/usr/bin/env bash
# Runs the root module's tests at both ends of what it promises: with its own
# requirements, the oldest that work, on the oldest Go release; and with the newest
# of each on the newest. On a supported release in between, unless it is installed
# and `make test` runs them anyway, they run with its own requirements too.
#
# On Go 1.25 some tests of transport skip by a named reason (its HTTP/2 does not
# work in a testing/synctest bubble). Everything else passes there.
. "$(dirname "$0")/lib.sh"
scratch

# The latest of each, in order; the go command fetches what it lacks.
oldest=go1.25.10
supported='go1.26.8'
newest=go1.27.4

# on RELEASE FLAGS...: the root's tests on that release.
on() {
	GOTOOLCHAIN=$1 go test "${@:2}" -timeout 8m ./... || fail "go test ${*:2} ./... on $1"
}

installed=$(go env GOVERSION)
for release in $oldest $supported; do
	[ "${installed%.*}" = "${release%.*}" ] && continue
	echo "-- $release, with the requirements of go.mod"
	on "$release"
done

cp go.mod go.sum "$tmp"
required=$(go list -m -f '{{if not (or .Main .Indirect)}}{{.Path}}@latest{{end}}' all)
[ -n "$required" ] || fail "go.mod requires nothing"
# shellcheck disable=SC2086
GOTOOLCHAIN=$newest go get -modfile="$tmp/go.mod" $required || fail "the newest of $required"
GOTOOLCHAIN=$newest go mod tidy -modfile="$tmp/go.mod" || fail "go mod tidy with the newest of $required"
echo "-- $newest, with the newest of each requirement"
git diff --no-index --unified=0 go.mod "$tmp/go.mod" | sed -nE 's/^\+\t/   /p' || true
on $newest -modfile="$tmp/go.mod"
