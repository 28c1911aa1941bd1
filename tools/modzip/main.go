// Command modzip makes of a commit what the module proxy would make of its tag:
// the zip, go.mod and version of a module, laid out as a directory that serves as
// a file:// GOPROXY.
//
// Usage:
//
//	modzip [-rev HEAD] [-version v0.1.0] repository proxy
//
// What is not committed is not in it, and neither are nested modules.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

func main() {
	flags := flag.NewFlagSet("modzip", flag.ExitOnError)
	rev := flags.String("rev", "HEAD", "the commit")
	version := flags.String("version", "v0.1.0", "the version that it is to be")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if flags.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "modzip: want two directories, that of the repository and that of the proxy")
		os.Exit(2)
	}
	if err := publish(flags.Arg(0), *rev, *version, flags.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "modzip:", err)
		os.Exit(1)
	}
}

// publish adds the module at the root of repo, as it is in the commit rev, to the
// directory proxy under the given version.
func publish(repo, rev, version, proxy string) error {
	repo, err := filepath.Abs(repo)
	if err != nil {
		return err
	}
	mod, err := git(repo, "show", rev+":go.mod")
	if err != nil {
		return err
	}
	m := module.Version{Path: modfile.ModulePath(mod), Version: version}
	var archive bytes.Buffer
	if err := zip.CreateFromVCS(&archive, m, repo, rev, ""); err != nil {
		return err
	}
	info, err := describe(repo, rev, version)
	if err != nil {
		return err
	}
	return write(proxy, m, map[string][]byte{
		"list":            []byte(version + "\n"),
		version + ".info": info,
		version + ".mod":  mod,
		version + ".zip":  archive.Bytes(),
	})
}

// describe returns the .info of a version: its name and when it was committed.
func describe(repo, rev, version string) ([]byte, error) {
	text, err := git(repo, "log", "-1", "--format=%cI", rev)
	if err != nil {
		return nil, err
	}
	committed, err := time.Parse(time.RFC3339, strings.TrimSpace(string(text)))
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Version string
		Time    time.Time
	}{version, committed.UTC()})
}

// write puts the files of m where the go command looks for them, see
// https://go.dev/ref/mod#goproxy-protocol.
func write(proxy string, m module.Version, files map[string][]byte) error {
	escaped, err := module.EscapePath(m.Path)
	if err != nil {
		return err
	}
	dir := filepath.Join(proxy, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func git(repo string, args ...string) ([]byte, error) {
	var problem bytes.Buffer
	cmd := exec.Command("git", append([]string{"-C", repo}, args...)...)
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("git %s: %w: %s", args[0], err, bytes.TrimSpace(problem.Bytes()))
	}
	return out, nil
}
