#!/usr/bin/env bash
# Asks the Go vulnerability database (https://vuln.go.dev, which must be reachable)
# about every module, with the installed Go release.
. "$(dirname "$0")/lib.sh"

for module in $(modules); do
	echo "-- $module"
	(cd "$module" && tool govulncheck ./...) || fail "govulncheck in module $module"
done
