#!/usr/bin/env bash
# Runs the root module's tests on each supported Go release but the installed one.
. "$(dirname "$0")/lib.sh"

releases='go1.26.8 go1.27.4' # the latest of each; the go command fetches what it lacks

installed=$(go env GOVERSION)
for release in $releases; do
	[ "${installed%.*}" = "${release%.*}" ] && continue
	echo "-- $release"
	GOTOOLCHAIN=$release go test -timeout 5m ./... || fail "go test ./... on $release"
done
