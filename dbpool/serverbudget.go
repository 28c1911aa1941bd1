package dbpool

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strconv"
)

// pgLimits is one question for all versions: reserved_connections exists since
// PostgreSQL 16.
const pgLimits = "select name, setting from pg_settings where name in" +
	" ('max_connections', 'superuser_reserved_connections', 'reserved_connections')"

const mysqlLimit = "select @@global.max_connections"

// ServerBudget asks a server for its limits, over one connection that it opens and
// closes: max_connections, and the connections that PostgreSQL reserves for superusers and
// for reserved roles. MySQL and MariaDB reserve nothing of it: they have one more for
// an administrator. Behind a pooler these are the limits of the server, not the
// pooler's.
//
// The other fields are those of one process with default settings; fill in Replicas
// and Surge, and add the connections of others to Reserved. The error is that of the dial,
// or of both questions if the server is of neither kind.
func ServerBudget(ctx context.Context, base driver.Connector) (Budget, error) {
	if base == nil {
		return Budget{}, &FieldError{Field: "base", Reason: "must not be nil"}
	}
	db := sql.OpenDB(borrowed{base})
	defer db.Close()
	conn, err := db.Conn(ctx)
	if err != nil {
		return Budget{}, fmt.Errorf("dbpool: server limits: %w", err)
	}
	defer conn.Close()
	b, pgErr := askPostgreSQL(ctx, conn)
	if pgErr == nil {
		return b, nil
	}
	var limit int
	if err := conn.QueryRowContext(ctx, mysqlLimit).Scan(&limit); err != nil {
		return Budget{}, fmt.Errorf("dbpool: server limits: neither like PostgreSQL (%w) nor like MySQL (%w)", pgErr, err)
	}
	return Budget{MaxConnections: limit}, nil
}

// borrowed hides the Close of a connector, which sql.DB.Close would call.
type borrowed struct{ driver.Connector }

func askPostgreSQL(ctx context.Context, conn *sql.Conn) (Budget, error) {
	rows, err := conn.QueryContext(ctx, pgLimits)
	if err != nil {
		return Budget{}, err
	}
	defer rows.Close()
	var b Budget
	for rows.Next() {
		var name, setting string
		if err := rows.Scan(&name, &setting); err != nil {
			return Budget{}, err
		}
		n, err := strconv.Atoi(setting)
		if err != nil {
			return Budget{}, fmt.Errorf("%s: %w", name, err)
		}
		if name == "max_connections" {
			b.MaxConnections = n
		} else {
			b.Reserved += n
		}
	}
	if err := rows.Err(); err != nil {
		return Budget{}, err
	}
	if b.MaxConnections == 0 {
		return Budget{}, errors.New("no max_connections in pg_settings")
	}
	return b, nil
}
