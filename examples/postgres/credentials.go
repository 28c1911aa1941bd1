package main

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/connhygiene/connhygiene/dbpool"
)

// rotating returns a connector that reads the password from a file at each dial, as
// a secret store or Kubernetes writes it. Connections that are open stay.
func rotating(dsn, passwordFile string) (driver.Connector, error) {
	config, err := pgx.ParseConfig(dsn)
	if err != nil {
		return nil, err
	}
	return dbpool.Rotating(stdlib.GetDefaultDriver(), func(context.Context) (driver.Connector, error) {
		password, err := os.ReadFile(passwordFile)
		if err != nil {
			return nil, err
		}
		now := config.Copy()
		now.Password = strings.TrimSpace(string(password))
		return stdlib.GetConnector(*now), nil
	}), nil
}

// rotation changes the password of the service under its feet. It needs a server of
// our own.
func rotation(ctx context.Context, _ options, db *database, out io.Writer) (err error) {
	if db.passwordFile == "" {
		return nil
	}
	connector, err := rotating(db.dsn, db.passwordFile)
	if err != nil {
		return err
	}
	pool, err := dbpool.Open(connector, dbpool.Server(2))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	old, err := pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer old.Close()
	if err := db.changePassword(ctx, old, "changed"); err != nil {
		return err
	}
	next, err := pool.Conn(ctx) // the first one is in use, so this one dials
	if err != nil {
		return err
	}
	defer next.Close()
	if err := errors.Join(old.PingContext(ctx), next.PingContext(ctx)); err != nil {
		return err
	}
	fmt.Fprintln(out, "The password has changed: the open connection works on, and a new one has logged in with the new password.")
	return nil
}
