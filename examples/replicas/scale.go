package main

import (
	"context"
	"errors"
	"io"
)

func scale(ctx context.Context, o options, stdout, stderr io.Writer) error {
	return errors.New("not yet")
}

func scaleMain(ctx context.Context) int { return 1 }
