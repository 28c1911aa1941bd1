#!/usr/bin/env bash
# Runs the root module's tests once more, under the race detector and in random order.
. "$(dirname "$0")/lib.sh"

go test -race -shuffle=on -timeout 5m ./... || fail "go test -race -shuffle=on ./..."
