#!/usr/bin/env bash
# Runs the README's test command: the first one in a code block there.
. "$(dirname "$0")/lib.sh"

command='go test ./...'
documented=$(awk '/^```/ {fenced = !fenced; next} fenced && /^(\$ )?go test/ {sub(/^\$ /, ""); print; exit}' README.md)
[ "$documented" = "$command" ] || fail "the README's test command is '$documented', the gate's '$command'"

# -count=1: a result out of the cache says nothing about this machine.
GOFLAGS="$(go env GOFLAGS) -count=1" $command || fail "$command"
