#!/usr/bin/env bash
# Publishes the last commit to a proxy in a temporary directory, as the module proxy
# would publish its tag, and uses it there as a stranger does: go get in an empty
# module, the README's code, each package's fixture in a test, the storm by its name.
#
#   scripts/release.sh [v0.1.0]    the version to try, the CHANGELOG's newest unless given
. "$(dirname "$0")/lib.sh"
scratch
# The module cache is read-only: the go command has to remove it.
trap 'GOMODCACHE=$tmp/cache go clean -modcache; rm -rf "$tmp"' EXIT

ours=github.com/connhygiene/connhygiene
version=${1:-v$(sed -nE 's/^## \[([0-9]+\.[^]]*)\].*/\1/p' CHANGELOG.md | sed -n 1p)}

for file in LICENSE THIRD_PARTY_NOTICES.md README.md CHANGELOG.md; do
	git cat-file -e "HEAD:$file" || fail "a release without $file"
done
git show HEAD:CHANGELOG.md | grep -q -F "## [${version#v}] - 20" || fail "CHANGELOG.md has no dated section for $version"
awk '/^require \(/ {block = 1; next} /^\)/ {block = 0} block {print $1} /^require [^(]/ {print $2}' go.mod >"$tmp/required"
while read -r module; do
	grep -q -F "$module" THIRD_PARTY_NOTICES.md || fail "THIRD_PARTY_NOTICES.md does not name $module"
done <"$tmp/required"
go -C tools run ./modzip -version "$version" "$root" "$tmp/proxy" || fail "the module zip"
wc -c "$tmp/proxy/$ours/@v/$version.zip" | awk '{printf "-- a zip of %d KB\n", $1 / 1024}'

# A cache of its own, since the version is not what it will be. What others published
# comes out of the usual cache, which is laid out as a proxy, and then from where it
# always does; its checksums are those of our go.sum, so that no network is needed.
GOPROXY="file://$tmp/proxy,file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
export GOPROXY GOMODCACHE=$tmp/cache GONOSUMDB=$ours,golang.org/x GOFLAGS=-mod=mod

mkdir "$tmp/consumer"
cd "$tmp/consumer" || fail "no consumer"
go mod init example.com/consumer
git -C "$root" show HEAD:go.sum >go.sum
go get "$ours@$version" || fail "go get $ours@$version"
published=$(go list -m -f '{{.Dir}}' "$ours")

sed 's/^package .*/package consumer_test/' "$published/example_test.go" >example_test.go
cp "$root/tools/modzip/testdata/fixtures_test.go" .
go vet ./... || fail "what a user writes does not build"
go test -count=1 ./... || fail "what a user writes does not work"

compiled=$(go list -deps -test -f '{{with .Module}}{{.Path}}{{end}}' ./... | sort -u | tr '\n' ' ')
[ "$compiled" = "example.com/consumer $ours golang.org/x/time " ] || fail "a user of all packages compiles: $compiled"
echo "-- a user of all packages compiles $compiled"

go mod tidy || fail "go mod tidy"
go mod verify || fail "go mod verify"
go run "$ours/examples/storm@$version" -explain -agents 800 | grep MaxPending || fail "the storm by its name"
