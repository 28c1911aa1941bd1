#!/usr/bin/env bash
# Publishes the last commit to a proxy in a temporary directory, as the module proxy
# would publish its tags, and uses it there as a stranger does: go get in an empty
# module, the README's code, each package's fixture in a test, the storm by its name;
# and each module of contrib by go get in a module of its own, with its own examples.
#
#   scripts/release.sh [v0.2.0]
#
# The version to try is, unless given, the newest in the CHANGELOG; or, while there is
# something under [Unreleased], the one that the modules of contrib wait for.
. "$(dirname "$0")/lib.sh"
scratch
# The module cache is read-only: the go command has to remove it.
trap 'GOMODCACHE=$tmp/cache go clean -modcache; rm -rf "$tmp"' EXIT

ours=github.com/connhygiene/connhygiene
git show HEAD:CHANGELOG.md >"$tmp/changelog"
newest=v$(sed -nE 's/^## \[([0-9]+\.[^]]*)\].*/\1/p' "$tmp/changelog" | sed -n 1p)
waiting=$(sed -nE "s|^\t$ours (v[^ ]*).*|\1|p" contrib/*/go.mod | sort -V | tail -n 1)
unreleased=$(awk '/^## / {on = /Unreleased/} on && /^- /' "$tmp/changelog" | wc -l)
version=$newest
if [ "$unreleased" -gt 0 ] && [ "$(printf '%s\n' "$newest" "$waiting" | sort -V | tail -n 1)" != "$newest" ]; then
	version=$waiting
	echo "-- between releases: trying $version, which contrib waits for"
fi
if [ $# -gt 0 ]; then version=$1; fi

for file in LICENSE THIRD_PARTY_NOTICES.md README.md CHANGELOG.md; do
	git cat-file -e "HEAD:$file" || fail "a release without $file"
done
[ "$version" = "$waiting" ] && [ "$unreleased" -gt 0 ] || grep -q -F "## [${version#v}] - 20" "$tmp/changelog" ||
	fail "CHANGELOG.md has no dated section for $version"
awk '/^require \(/ {block = 1; next} /^\)/ {block = 0} block {print $1} /^require [^(]/ {print $2}' go.mod >"$tmp/required"
while read -r module; do
	grep -q -F "$module" THIRD_PARTY_NOTICES.md || fail "THIRD_PARTY_NOTICES.md does not name $module"
done <"$tmp/required"
go -C tools build -o "$tmp/modzip" ./modzip || fail "the build of modzip"
"$tmp/modzip" -version "$version" "$root" "$tmp/proxy" || fail "the module zip"
released=$(git tag --list 'v[0-9]*' | tr '\n' ' ')
for dir in contrib/*/; do
	dir=${dir%/}
	git cat-file -e "HEAD:$dir/README.md" || fail "a module without a README: $dir"
	"$tmp/modzip" -version "$version" -released "$released" -dir "$dir" "$root" "$tmp/proxy" 2>"$tmp/why" ||
		fail "the module zip of $dir: $(cat "$tmp/why")"
done
wc -c "$tmp/proxy/$ours/@v/$version.zip" | awk '{printf "-- a zip of %d KB\n", $1 / 1024}'

# A cache of its own, since the version is not what it will be. What others published
# comes out of the usual cache, which is laid out as a proxy, and then from where it
# always does; its checksums are those of our go.sum, so that no network is needed.
GOPROXY="file://$tmp/proxy,file://$(go env GOMODCACHE)/cache/download,$(go env GOPROXY)"
export GOPROXY GOMODCACHE=$tmp/cache GONOSUMDB=$ours,golang.org/x GOFLAGS="-mod=mod -trimpath"

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

# Each module of contrib, in a stranger's module that has nothing else.
for dir in "$root"/contrib/*/; do
	name=$(basename "$dir")
	mkdir "$tmp/stranger-$name"
	cd "$tmp/stranger-$name" || fail "no stranger"
	go mod init "example.com/stranger-$name"
	git -C "$root" show "HEAD:contrib/$name/go.sum" >go.sum
	go get "$ours/contrib/$name@$version" || fail "go get $ours/contrib/$name@$version"
	published=$(go list -m -f '{{.Dir}}' "$ours/contrib/$name")
	cp "$published"/example*_test.go . || fail "contrib/$name has no examples"
	go mod tidy || fail "go mod tidy with contrib/$name"
	go vet ./... || fail "the examples of contrib/$name do not build outside of it"
	go test -count=1 ./... || fail "the examples of contrib/$name do not work outside of it"
	grep -q "$ours $version" go.mod || fail "contrib/$name does not bring $ours $version: $(cat go.mod)"
	echo "-- a stranger has contrib/$name $version and its examples"
done
