package main

import (
	"archive/zip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// The zip holds the module as it was committed: no nested module, nothing that lies
// around, and no change since.
func TestPublishCommitted(t *testing.T) {
	repo, proxy := t.TempDir(), t.TempDir()
	put(t, repo, "go.mod", "module example.com/Mod\n\ngo 1.26.0\n")
	put(t, repo, "mod.go", "package mod\n")
	put(t, repo, "nested/go.mod", "module example.com/Mod/nested\n")
	put(t, repo, "nested/nested.go", "package nested\n")
	for _, args := range [][]string{
		{"init", "-q"},
		{"add", "."},
		{"-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false", "commit", "-q", "-m", "m"},
	} {
		_, err := git(repo, args...)
		require.NoError(t, err)
	}
	put(t, repo, "mod.go", "package changed\n")
	put(t, repo, "stray.go", "package mod\n")

	require.NoError(t, publish(repo, "HEAD", "v0.1.0", proxy))
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
	require.ErrorContains(t, publish(repo, "HEAD", "v0.1.0", t.TempDir()), "git show", "no repository")
	put(t, repo, "go.mod", "module example.com/mod\n")
	_, err := git(repo, "init", "-q")
	require.NoError(t, err)
	require.ErrorContains(t, publish(repo, "HEAD", "v0.1.0", t.TempDir()), "git show", "no commit")
}

func put(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
}
