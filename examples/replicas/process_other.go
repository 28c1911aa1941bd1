//go:build !linux

package main

import (
	"os/exec"
	"syscall"
)

func alone() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }

func launch(cmd *exec.Cmd) error { return cmd.Start() }
