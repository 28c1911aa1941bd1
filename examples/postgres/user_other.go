//go:build !unix

package main

import (
	"context"
	"errors"
)

func asOrdinaryUser(string) (func(ctx context.Context, name string, args ...string) error, error) {
	return nil, errors.New("a server of our own needs Unix: give -dsn")
}
