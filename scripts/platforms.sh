#!/usr/bin/env bash
# Runs the root module's short tests on systems and processors that this machine is
# not: 32 bits natively, arm64 and s390x (which is big-endian) in QEMU, Windows in
# Wine. What a system cannot do is skipped there by a named reason; the table counts
# it and the reasons follow. scripts/install.sh installs what is needed.
#
#   scripts/platforms.sh                          all of them
#   scripts/platforms.sh linux/s390x ./ttlcache   one, and perhaps these packages only
. "$(dirname "$0")/lib.sh"
scratch
trap 'stop_wine; rm -rf "$tmp"' EXIT

targets=(linux/386 windows/amd64 linux/arm64 linux/s390x)
if [ $# -gt 0 ]; then targets=("$1") && shift; fi
packages=("${@:-./...}")

# Wine in a prefix of our own. That of Debian 12 lacks the function from which Go takes
# random numbers, which is all that a library of our making has to hold.
start_wine() {
	command -v wine >/dev/null || fail "no wine: run scripts/install.sh"
	command -v x86_64-w64-mingw32-gcc >/dev/null || fail "no gcc for Windows: run scripts/install.sh"
	export WINEPREFIX=$tmp/wine WINEDEBUG=-all WINEDLLOVERRIDES='mscoree,mshtml='
	wineboot --init >/dev/null 2>&1 || fail "wineboot"
	local system=$WINEPREFIX/drive_c/windows/system32
	if [ ! -e "$system/bcryptprimitives.dll" ]; then
		cat >"$tmp/prng.c" <<-'EOF'
			#include <windows.h>
			#include <ntsecapi.h>

			__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE data, SIZE_T size)
			{
				return RtlGenRandom(data, (ULONG)size);
			}
		EOF
		x86_64-w64-mingw32-gcc -shared -O2 -o "$system/bcryptprimitives.dll" "$tmp/prng.c" -ladvapi32 ||
			fail "bcryptprimitives.dll"
	fi
	printf '#!/bin/sh\nexec wine "$@"\n' >"$tmp/run-wine"
	chmod +x "$tmp/run-wine"
}

stop_wine() {
	if [ -n "${WINEPREFIX:-}" ]; then wineserver --kill || true; fi
}

# runner TARGET: what go test starts its programs with.
runner() {
	case $1 in
	linux/386) ;;
	linux/arm64) echo qemu-aarch64-static ;;
	linux/s390x) echo qemu-s390x-static ;;
	windows/amd64) echo "$tmp/run-wine" ;;
	*) fail "no way to run $1 here" ;;
	esac
}

# row makes a table of what go test -v has written for a target.
row() {
	awk -v target="$1" '
		/^ *--- SKIP/ {skipped++; total++}
		/^--- (PASS|FAIL)/ {tests++}
		/^(ok|FAIL|---)[ \t]+github/ {
			sub(/^github.com\/connhygiene\/connhygiene/, ".", $2)
			printf "   %-14s %-28s %-5s %9s %5d tests, %d skipped\n", target, $2, $1, $3, tests, skipped
			tests = skipped = 0
		}
	' "$2"
}

# failed_packages prints what the packages that failed have written.
failed_packages() {
	awk '
		/^(ok|\?|---)[ \t]+github/ {text = ""; next}
		{text = text $0 "\n"}
		/^FAIL[ \t]/ {printf "%s", text; text = ""}
	' "$1"
}

# play runs the tests of a target, and leaves what they write and their status.
play() {
	local target=$1 log=$2 with skip=() status=0
	with=$(runner "$target")
	# virtual time, hundreds of simulations: minutes in an emulator
	[ -z "$with" ] || skip=(-skip '^TestMatrix')
	GOOS=${target%/*} GOARCH=${target#*/} CGO_ENABLED=0 \
		go test -short -v -vet=off -count=1 -p 1 -timeout 10m "${skip[@]}" ${with:+-exec "$with"} "${packages[@]}" >"$log" 2>&1 || status=$?
	echo $status >"$log.status"
}

for target in "${targets[@]}"; do
	with=$(runner "$target")
	[ "$target" != windows/amd64 ] || start_wine
	[ -z "$with" ] || command -v "$with" >/dev/null || fail "no $with: run scripts/install.sh"
done

# Two at a time: none keeps more than a processor busy for long.
bad='' i=0
: >"$tmp/reasons"
while [ $i -lt ${#targets[@]} ]; do
	pair=("${targets[@]:i:2}")
	i=$((i + 2))
	for target in "${pair[@]}"; do play "$target" "$tmp/log-${target/\//-}" & done
	wait
	for target in "${pair[@]}"; do
		log=$tmp/log-${target/\//-}
		row "$target" "$log"
		awk -v target="$target" '/^ *--- SKIP/ {print target ": " reason} /_test\.go:[0-9]+: / {reason = $0; sub(/^ *[^ ]*: /, "", reason)}' "$log" >>"$tmp/reasons"
		if [ "$(cat "$log.status")" -ne 0 ]; then
			failed_packages "$log" | grep -v '^ *=== \|^ *--- \(PASS\|SKIP\)' | head -n 200
			bad+=" $target"
		fi
	done
done
echo "-- skipped"
sort "$tmp/reasons" | uniq -c
[ -z "$bad" ] || fail "the tests fail on$bad"
