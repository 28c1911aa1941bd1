#!/usr/bin/env bash
# Runs golangci-lint with the settings of .golangci.yml in every module. It is compiled
# from source, which takes some minutes the first time.
. "$(dirname "$0")/lib.sh"

version=v2.15.0

for module in $(modules); do
	echo "-- $module"
	(cd "$module" && go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$version run ./...) ||
		fail "golangci-lint in module $module"
done
