#!/usr/bin/env bash
# Tests the nested modules against the real services: PostgreSQL, MariaDB, PgBouncer,
# nginx, HAProxy, Redis, curl (scripts/install.sh installs them), and in network namespaces. A service that is missing
# skips its tests when a person runs them; here a skip is a failure.
. "$(dirname "$0")/lib.sh"

export CONNHYGIENE_SERVICES=required
PATH=$PATH:/usr/sbin:/sbin
scratch

[ -f internal/integration/go.mod ] || fail "internal/integration is gone: no test with real services"

failed=
for module in $(modules); do
	case $module in . | ./tools) continue ;; esac
	echo "-- $module"
	(cd "$module" && go build -o /dev/null ./...) || fail "go build in module $module"
	status=0
	(cd "$module" && go test -v -count=1 -timeout 15m ./...) >"$tmp/log" 2>&1 || status=$?
	grep -vE '^ *=== (RUN|PAUSE|CONT|NAME)|\[no test files\]$' "$tmp/log" || true
	if [ $status -ne 0 ]; then
		failed+=" $module ($(grep -oE '^ *--- FAIL: [^ ]+' "$tmp/log" | awk '{print $3}' | paste -sd, || true))"
		continue
	fi
	if skipped=$(grep -E '^ *--- SKIP' "$tmp/log"); then
		fail "skipped in module $module: $skipped"
	fi
	if [ "$module" = ./internal/integration ] && ! grep -q '^--- PASS' "$tmp/log"; then
		fail "no test ran in module $module"
	fi
done
# All modules have run, so that one log names everything that is broken.
[ -z "$failed" ] || fail "go test ./... in$failed"
