# Sourced by the scripts beside it: strict mode, the root of the repository as
# working directory, and the words they share.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD

# A workspace file would hide what the nested modules really require.
export GOWORK=off

# fail says why and ends the script; the gate repeats the reason in its last line.
fail() {
	local reason
	reason=$(printf '%s' "$*" | tr '\n' ' ')
	printf 'FAILED: %s\n' "$reason" >&2
	if [ -n "${GATE_REASON:-}" ]; then printf '%s' "$reason" >"$GATE_REASON"; fi
	exit 1
}

# modules prints the directory of every module, the root's first.
modules() {
	find . -name go.mod -not -path '*/testdata/*' | sed 's|/go\.mod$||' | LC_ALL=C sort
}

# tool runs one of the tools that tools/go.mod names, in any module.
tool() {
	go tool -modfile="$root/tools/go.mod" "$@"
}

# scratch makes a temporary directory, $tmp, that goes when the script ends.
scratch() {
	tmp=$(mktemp -d)
	trap 'rm -rf "$tmp"' EXIT
}
