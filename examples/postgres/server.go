package main

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	_ "github.com/jackc/pgx/v5/stdlib" // driver "pgx"

	"github.com/connhygiene/connhygiene/dbpool"
)

// A database is where the service logs in, and the server, if it is our own.
type database struct {
	dsn          string // without a password if there is a file with it
	passwordFile string

	bin, dir string
	run      func(ctx context.Context, name string, args ...string) error
}

// connector returns one that does not know of the passwords to come.
func (d *database) connector() (driver.Connector, error) {
	if d.passwordFile != "" {
		return rotating(d.dsn, d.passwordFile)
	}
	return dbpool.DSN("pgx", d.dsn)
}

const role = "app"

var errNotInstalled = errors.New("no programs of PostgreSQL found: apt-get install -y postgresql, or give -dsn")

// startServer starts a server in a new directory, on a socket there, that takes no
// care of its data.
func startServer(ctx context.Context, maxConnections int) (db *database, err error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "postgres-example-")
	if err != nil {
		return nil, err
	}
	db = &database{bin: bin, dir: dir}
	defer func() {
		if err != nil {
			err = errors.Join(err, db.stop())
		}
	}()
	if db.run, err = asOrdinaryUser(dir); err != nil {
		return nil, err
	}
	db.passwordFile = filepath.Join(dir, "password")
	if err := os.WriteFile(db.passwordFile, []byte("secret\n"), 0o644); err != nil { // the server's user reads it too; it is no secret
		return nil, err
	}
	data := filepath.Join(dir, "data")
	if err := db.run(ctx, filepath.Join(bin, "initdb"), "--pgdata="+data, "--username="+role, "--pwfile="+db.passwordFile,
		"--auth=scram-sha-256", "--locale=C", "--encoding=UTF8", "--no-sync"); err != nil {
		return nil, err
	}
	settings := "-c listen_addresses='' -c unix_socket_directories=" + dir + " -c fsync=off -c max_connections=" + strconv.Itoa(maxConnections)
	if err := db.run(ctx, filepath.Join(bin, "pg_ctl"), "-D", data, "-l", filepath.Join(dir, "log"), "-o", settings, "-w", "start"); err != nil {
		return nil, err
	}
	db.dsn = fmt.Sprintf("host=%s user=%s dbname=postgres", dir, role)
	return db, nil
}

// stop ends the server and removes its directory.
func (d *database) stop() error {
	var err error
	if d.dsn != "" {
		err = d.run(context.Background(), filepath.Join(d.bin, "pg_ctl"), "-D", filepath.Join(d.dir, "data"), "-m", "immediate", "-w", "stop")
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// changePassword changes it on the server and in the file.
func (d *database) changePassword(ctx context.Context, conn *sql.Conn, password string) error {
	if _, err := conn.ExecContext(ctx, "alter role "+role+" password '"+password+"'"); err != nil {
		return err
	}
	return os.WriteFile(d.passwordFile, []byte(password+"\n"), 0o644)
}

// binaries finds the directory of initdb and pg_ctl, which Debian keeps out of PATH.
func binaries() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if path, err := exec.LookPath("initdb"); err == nil {
		found = append(found, path)
	}
	if len(found) == 0 {
		return "", errNotInstalled
	}
	return filepath.Dir(found[len(found)-1]), nil
}
