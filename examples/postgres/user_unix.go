//go:build unix

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"syscall"
)

// asOrdinaryUser returns a function that runs programs, not as root, which PostgreSQL
// refuses, and gives dir to whom they run as.
func asOrdinaryUser(dir string) (func(ctx context.Context, name string, args ...string) error, error) {
	var as *syscall.Credential
	if os.Geteuid() == 0 {
		var err error
		if as, err = ordinary(); err != nil {
			return nil, err
		}
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, name string, args ...string) error {
		cmd := exec.CommandContext(ctx, name, args...)
		cmd.Dir = dir
		// A group of its own: a Ctrl-C at the terminal is ours to answer.
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
		out, err := os.CreateTemp("", "postgres-example-out-") // and no pipe, which the server would hold
		if err != nil {
			return err
		}
		defer os.Remove(out.Name())
		defer out.Close()
		cmd.Stdout, cmd.Stderr = out, out
		if err := cmd.Run(); err != nil {
			text, _ := os.ReadFile(out.Name())
			return fmt.Errorf("%s: %w\n%s", name, err, text)
		}
		return nil
	}, nil
}

// ordinary is the user that the packages of PostgreSQL make, or nobody.
func ordinary() (*syscall.Credential, error) {
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, errUID := strconv.ParseUint(u.Uid, 10, 32)
		gid, errGID := strconv.ParseUint(u.Gid, 10, 32)
		if errUID == nil && errGID == nil {
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
		}
	}
	return nil, errors.New("running as root, and there is neither a user postgres nor a user nobody")
}
