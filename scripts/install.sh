#!/usr/bin/env bash
# Installs what the other scripts need beside Go and git, on Debian and its kin:
# a C compiler for the race detector, and the real services. Starts none of them.
. "$(dirname "$0")/lib.sh"

PATH=$PATH:/usr/sbin:/sbin
missing=()
# want COMMAND PACKAGE...: the command, which may be a pattern of paths, comes with these.
want() {
	command -v "$1" >/dev/null || compgen -G "$1" >/dev/null || missing+=("${@:2}")
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
