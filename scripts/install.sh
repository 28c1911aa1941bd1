#!/usr/bin/env bash
# Installs what the other scripts need beside Go and git, on Debian and its kin:
# a C compiler for the race detector, the real services, and what runs the programs of
# other systems (scripts/platforms.sh). Starts none of them.
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
missing=()
# want COMMAND PACKAGE...: the command, which may be a pattern of paths or one of
# several (a|b), comes with these.
want() {
	local command
	while read -r command; do
		command -v "$command" >/dev/null || compgen -G "$command" >/dev/null && return
	done <<<"${1//|/$'\n'}"
	missing+=("${@:2}")
}
want gcc gcc libc6-dev
want curl curl ca-certificates
want nginx nginx
want haproxy haproxy
want pgbouncer pgbouncer
want mariadbd mariadb-server
want ip iproute2
want nft nftables
want '/usr/lib/postgresql/*/bin/postgres' postgresql
want redis-server redis-server
want caddy caddy
want prometheus prometheus
want 'chromium|google-chrome' chromium # Ubuntu has it as a snap only, its runners the other
want nft nftables
want ip iproute2
want qemu-aarch64-static qemu-user-static
want wine wine
want /usr/lib/wine/wine64 wine64
want x86_64-w64-mingw32-gcc gcc-mingw-w64-x86-64
want shellcheck shellcheck

if [ ${#missing[@]} -eq 0 ]; then
	echo "nothing to install"
	exit 0
fi
command -v apt-get >/dev/null || fail "no apt-get here: install" "${missing[@]}"

as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo)
# The run level keeps the packages from starting their services on the usual ports.
apt=("${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -y -q -o Acquire::Retries=3)
echo "installing ${missing[*]}"
scratch
"${apt[@]}" update >"$tmp/log" 2>&1 || { cat "$tmp/log" && echo "apt-get update failed: trying with the lists at hand"; }
"${apt[@]}" install --no-install-recommends "${missing[@]}" >"$tmp/log" 2>&1 || {
	cat "$tmp/log"
	fail "apt-get install ${missing[*]}"
}
