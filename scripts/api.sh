#!/usr/bin/env bash
# Compares the exported API with that of the last tag. Before v1 a change that
# breaks users must be announced in the CHANGELOG as "Breaking:"; from v1 on it fails.
. "$(dirname "$0")/lib.sh"
scratch

tag=$(git -c versionsort.suffix=- tag --merged HEAD --list 'v[0-9]*' --sort=-v:refname | sed -n 1p)
if [ -z "$tag" ]; then
	echo "no tag yet: no API to compare with"
	exit 0
fi
ours=github.com/connhygiene/connhygiene
git archive --format=tar --prefix=old/ "$tag" | tar -x -C "$tmp"
(cd "$tmp/old" && tool apidiff -m -w "$tmp/api" "$ours") || fail "apidiff cannot read $tag"
broken=$(tool apidiff -m -incompatible "$tmp/api" "$ours") || fail "apidiff"

if [ -z "$broken" ]; then
	echo "compatible with $tag"
	exit 0
fi
printf 'incompatible with %s:\n%s\n' "$tag" "$broken"
since=$(awk -v last="## [${tag#v}]" 'index($0, last) == 1 {exit} {print}' CHANGELOG.md)
case $tag in
v0.*) grep -q 'Breaking:' <<<"$since" || fail "breaks users of $tag: announce it in the CHANGELOG as 'Breaking:'" ;;
*) fail "breaks users of $tag" ;;
esac
