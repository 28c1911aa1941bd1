package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

var head = release{rev: "HEAD", version: "v0.1.0"}

// The zip holds the module as it was committed: no nested module, nothing that lies
// around, and no change since.
func TestPublishCommitted(t *testing.T) {
	repo, proxy := t.TempDir(), t.TempDir()
	put(t, repo, "go.mod", "module example.com/Mod\n\ngo 1.26.0\n")
	put(t, repo, "mod.go", "package mod\n")
	put(t, repo, "nested/go.mod", "module example.com/Mod/nested\n")
	put(t, repo, "nested/nested.go", "package nested\n")
	commit(t, repo)
	put(t, repo, "mod.go", "package changed\n")
	put(t, repo, "stray.go", "package mod\n")

	require.NoError(t, head.publish(repo, proxy))
	dir := filepath.Join(proxy, "example.com", "!mod", "@v")
	for name, want := range map[string]string{
		"list":        "v0.1.0\n",
		"v0.1.0.mod":  "module example.com/Mod\n",
		"v0.1.0.info": `{"Version":"v0.1.0","Time":"20`,
	} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Contains(t, string(data), want)
	}
	archive, err := zip.OpenReader(filepath.Join(dir, "v0.1.0.zip"))
	require.NoError(t, err)
	defer archive.Close()
	var names []string
	for _, f := range archive.File {
		names = append(names, f.Name)
	}
	require.ElementsMatch(t, []string{"example.com/Mod@v0.1.0/go.mod", "example.com/Mod@v0.1.0/mod.go"}, names)
	require.EqualValues(t, len("package mod\n"), archive.File[1].UncompressedSize64)
}

func TestPublishRefuses(t *testing.T) {
	repo := t.TempDir()
	require.ErrorContains(t, head.publish(repo, t.TempDir()), "git show", "no repository")
	put(t, repo, "go.mod", "module example.com/mod\n")
	_, err := git(repo, "init", "-q")
	require.NoError(t, err)
	require.ErrorContains(t, head.publish(repo, t.TempDir()), "git show", "no commit")
}

// A nested module is a zip of its own, with the repository's licence; and one that
// requires what its users cannot get is refused, by an error that says what to do.
func TestPublishNested(t *testing.T) {
	const replaced = "\nreplace example.com/mod => ../..\n"
	repo, proxy := t.TempDir(), t.TempDir()
	put(t, repo, "go.mod", "module example.com/mod\n\ngo 1.26.0\n")
	put(t, repo, "LICENSE", "MIT\n")
	put(t, repo, "contrib/nested/go.mod", "module example.com/mod/contrib/nested\n\nrequire example.com/mod v0.2.0\n"+replaced)
	put(t, repo, "contrib/nested/nested.go", "package nested\n")
	commit(t, repo)
	r := release{rev: "HEAD", version: "v0.2.0", dir: "contrib/nested"}
	require.NoError(t, r.publish(repo, proxy))
	archive, err := zip.OpenReader(filepath.Join(proxy, "example.com", "mod", "contrib", "nested", "@v", "v0.2.0.zip"))
	require.NoError(t, err)
	defer archive.Close()
	var names []string
	for _, f := range archive.File {
		names = append(names, filepath.Base(f.Name))
	}
	require.ElementsMatch(t, []string{"go.mod", "nested.go", "LICENSE"}, names)

	r.version = "v0.3.0"
	require.ErrorContains(t, r.publish(repo, t.TempDir()), "contrib/nested/go.mod requires example.com/mod v0.2.0, which is neither released nor v0.3.0: tag that first, or")
	r.released = []string{"v0.1.0", "v0.2.0"}
	require.NoError(t, r.publish(repo, t.TempDir()))
	r.dir = "contrib/gone"
	require.ErrorContains(t, r.publish(repo, t.TempDir()), "contrib/gone/go.mod")
}

func commit(t *testing.T, repo string) {
	t.Helper()
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "m"},
	} {
		_, err := git(repo, args...)
		require.NoError(t, err)
	}
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}
