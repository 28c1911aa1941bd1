#!/usr/bin/env bash
# Builds and vets every module for the systems and word sizes that this machine is not.
. "$(dirname "$0")/lib.sh"

for target in windows/amd64 darwin/arm64 linux/386; do
	for module in $(modules); do
		[ "$module" = ./tools ] && continue # runs where people develop, not where users are
		echo "-- $target: $module"
		(
			cd "$module"
			export GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0
			go build -o /dev/null ./... && go vet ./...
		) || fail "build and vet for $target in module $module"
	done
done
