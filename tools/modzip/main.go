// Command modzip makes of a commit what the module proxy would make of its tag:
// the zip, go.mod and version of a module, laid out as a directory that serves as
// a file:// GOPROXY.
//
// Usage:
//
//	modzip [-rev HEAD] [-version v0.1.0] [-dir contrib/promstats] repository proxy
//
// What is not committed is not in it, and neither are nested modules, unless -dir names
// one. What a nested module requires of the repository's other modules must be named by
// -released, or be the version itself: a user of it gets no replacement.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
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
	dir := flags.String("dir", "", "the folder of the module in the repository")
	released := flags.String("released", "", "the versions that users can get, with spaces between")
	_ = flags.Parse(os.Args[1:]) // ExitOnError
	if flags.NArg() != 2 {
		fmt.Fprintln(os.Stderr, "modzip: want two directories, that of the repository and that of the proxy")
		os.Exit(2)
	}
	r := release{rev: *rev, version: *version, dir: *dir, released: strings.Fields(*released)}
	if err := r.publish(flags.Arg(0), flags.Arg(1)); err != nil {
		fmt.Fprintln(os.Stderr, "modzip:", err)
		os.Exit(1)
	}
}

// A release is what is published, and as what.
type release struct {
	rev, version string
	dir          string   // of the module, "" for the root
	released     []string // versions of the repository's modules that can be had
}

// publish adds the module of repo to the directory proxy.
func (r release) publish(repo, proxy string) error {
	repo, err := filepath.Abs(repo)
	if err != nil {
		return err
	}
	name := path.Join(r.dir, "go.mod")
	mod, err := git(repo, "show", r.rev+":"+name)
	if err != nil {
		return err
	}
	if err := r.checkRequired(name, mod); err != nil {
		return err
	}
	m := module.Version{Path: modfile.ModulePath(mod), Version: r.version}
	var archive bytes.Buffer
	if err := zip.CreateFromVCS(&archive, m, repo, r.rev, r.dir); err != nil {
		return err
	}
	info, err := describe(repo, r.rev, r.version)
	if err != nil {
		return err
	}
	return write(proxy, m, map[string][]byte{
		"list":              []byte(r.version + "\n"),
		r.version + ".info": info,
		r.version + ".mod":  mod,
		r.version + ".zip":  archive.Bytes(),
	})
}

// checkRequired refuses a module whose users could not get what it requires: the
// replacements in its go.mod are its own.
func (r release) checkRequired(name string, mod []byte) error {
	file, err := modfile.Parse(name, mod, nil)
	if err != nil {
		return err
	}
	for _, replaced := range file.Replace {
		for _, required := range file.Require {
			v := required.Mod.Version
			if required.Mod.Path == replaced.Old.Path && v != r.version && !slices.Contains(r.released, v) {
				return fmt.Errorf("%s requires %s %s, which is neither released nor %s: tag that first, or go -C %s mod edit -require=%s@%s",
					name, required.Mod.Path, v, r.version, path.Dir(name), required.Mod.Path, r.version)
			}
		}
	}
	return nil
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
