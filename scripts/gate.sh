#!/usr/bin/env bash
# The gate: every check, one after the other, until one fails. .ci/run calls it.
#
#   scripts/gate.sh              all steps
#   scripts/gate.sh test lint    only these
. "$(dirname "$0")/lib.sh"

# test comes first: it is what the README promises, with nothing but Go. The rest
# goes from what is cheap to fail to what is dear.
steps=(test install lint consumer release api examples race cross releases platforms services fuzz)
[ $# -eq 0 ] || steps=("$@")

limit=()
command -v timeout >/dev/null && limit=(timeout --kill-after=30s 25m)

GATE_REASON=$(mktemp)
export GATE_REASON
trap 'rm -f "$GATE_REASON"' EXIT

durations=''
spent() { printf '%dm%02ds' $(($1 / 60)) $(($1 % 60)); }

before=$(git status --porcelain)
go version
for step in "${steps[@]}"; do
	printf '\n=== %s, at %s\n' "$step" "$(spent $SECONDS)"
	began=$SECONDS
	status=0
	"${limit[@]}" bash "scripts/$step.sh" </dev/null || status=$?
	durations+=$(printf '%-10s %s' "$step" "$(spent $((SECONDS - began)))")$'\n'
	if [ $status -ne 0 ]; then
		reason=$(cat "$GATE_REASON")
		[ $status -eq 124 ] && reason='took longer than 25 minutes'
		printf '\n%s\ngate: FAILED in %s: %s\n' "$durations" "$step" "${reason:-exit status $status}"
		exit 1
	fi
done

after=$(git status --porcelain)
if [ "${CI:-}" = true ] && [ "$after" != "$before" ]; then
	git diff --stat
	printf '%s\n\ngate: FAILED: the checks changed the tree\n' "$after"
	exit 1
fi
printf '\n%s\ngate: passed %d steps in %s\n' "$durations" ${#steps[@]} "$(spent $SECONDS)"
