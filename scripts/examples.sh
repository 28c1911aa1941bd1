#!/usr/bin/env bash
# Builds every example and plays a small storm, the program a newcomer runs first.
. "$(dirname "$0")/lib.sh"
scratch

for module in $(modules); do
	case $module in . | ./examples/*) ;; *) continue ;; esac
	packages=./...
	[ "$module" = . ] && packages=./examples/...
	echo "-- build $module"
	mkdir -p "$tmp/bin"
	(cd "$module" && go build -o "$tmp/bin/" "$packages") || fail "an example does not build in module $module"
done

# copied NAME FOLDER...: these examples, copied into a module of a stranger's, pass their
# tests there. One that has a go.mod keeps it; others get one as go mod init makes it.
# The replacements stand for the published versions. What takes long runs where it is,
# in scripts/services.sh.
copied() {
	local module=$tmp/copied-$1 folder
	mkdir "$module"
	if [ -f "examples/$1/go.mod" ]; then
		cp -r "examples/$1/." "$module"
		sed -i "s|^module .*|module example.com/copied|; s|=> \.\./\.\.|=> $root|" "$module/go.mod"
	else
		for folder in "$@"; do cp -r "examples/$folder" "$module"; done
		(cd "$module" && go mod init example.com/copied && go mod edit -replace "$ours=$root") || fail "go mod init for $1"
	fi
	# What its first comment tells a reader to do.
	[ "$1" != postgres ] || { rm "$module"/storm*.go && sed -i 's/, storms}/}/' "$module/main.go"; }
	if grep -l "\"$ours/internal/" -r "$module" --include=*.go; then
		fail "examples/$1 imports a package that nobody outside can import: move what it needs into the example"
	fi
	echo "-- copied into a module of its own: $*"
	(cd "$module" && go mod tidy && go vet ./... && go test -short -count=1 ./...) || fail "the tests of examples/$1, copied"
}
ours=github.com/connhygiene/connhygiene
copied agent
copied server # its test says that the agent is missing, and skips
rm -rf "$tmp/copied-agent" "$tmp/copied-server"
copied server agent
copied grpc
copied observability
copied replicas # its test of the manifests in docs/kubernetes says that they are missing, and skips
copied postgres
# Not copied: storm is the command of internal/storm and nothing else.
[ ! -d examples/tutorial ] || copied tutorial

echo "-- storm -json"
go run ./examples/storm -agents 60 -capacity 60 -outage 1s -arms gate,planned -json >"$tmp/storm.json" ||
	fail "go run ./examples/storm"
go -C tools run ./stormcheck gate planned <"$tmp/storm.json" || fail "what storm -json writes"

echo "-- storm -adversity -json"
"$tmp/bin/storm" -agents 60 -capacity 60 -outage 1s -arms gate,planned -adversity hasty -json >"$tmp/foul.json" || fail "storm -adversity"
go -C tools run ./stormcheck gate planned <"$tmp/foul.json" || fail "what storm -adversity -json writes"

echo "-- storm -svg -csv -html under an adversity, and -explain"
"$tmp/bin/storm" -agents 20 -capacity 60 -outage 1s -arms planned -adversity hasty -svg "$tmp/storm.svg" -csv "$tmp/storm.csv" -html "$tmp/storm.html" >"$tmp/table" ||
	fail "storm -adversity -svg -csv -html"
for file in storm.svg storm.csv storm.html table; do
	[ -s "$tmp/$file" ] || fail "storm wrote nothing to $file"
done
"$tmp/bin/storm" -explain -agents 800 >"$tmp/settings" || fail "storm -explain"
grep -q MaxPending "$tmp/settings" || fail "storm -explain does not say MaxPending"

echo "-- the storm of 10,000 agents, in virtual time"
CONNHYGIENE_LONG=1 go test -count=1 -run TenThousand ./internal/storm || fail "the storm of 10,000 agents"

# refuse wants one line that names the flag, and exit status 2.
refuse() {
	status=0
	timeout 20 "$tmp/bin/storm" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
	[ $status -eq 2 ] || fail "storm $*: exit status $status, want 2"
	[ ! -s "$tmp/out" ] || fail "storm $*: wrote to standard output: $(head -1 "$tmp/out")"
	if [ "$(wc -l <"$tmp/err")" -ne 1 ] || ! grep -q -e "$1" "$tmp/err"; then
		fail "storm $*: want one line that names $1, not: $(cat "$tmp/err")"
	fi
	cat "$tmp/err"
}

echo "-- storm with impossible flags"
refuse -agents -1
refuse -capacity 0
refuse -outage 24h
refuse -deadline -1s
refuse -arms nobody
refuse -guess 0
refuse -agents 2000000
refuse -svg /nowhere/storm.svg
refuse -html /nowhere/storm.html
refuse -adversity sunny
refuse -adversity hang -agents 60
