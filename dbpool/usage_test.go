package dbpool_test

import (
	"database/sql"
	"os"

	"github.com/connhygiene/connhygiene/dbpool"
)

// What the package comment shows. It needs a driver: internal/integration runs it with pgx.
var _ = func(use func(*sql.DB)) error {
	connector, err := dbpool.DSN("pgx", os.Getenv("DATABASE_URL"))
	if err != nil {
		return err
	}
	db, err := dbpool.Open(connector, dbpool.Server(20)) // a *sql.DB with at most 20 connections
	if err != nil {
		return err
	}
	use(db)
	return db.Close()
}
