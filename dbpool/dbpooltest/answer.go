package dbpooltest

import (
	"database/sql/driver"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Result is the result of a query or statement, as [Server.Answer] returns it.
type Result struct {
	// Columns are the names of the columns. Without columns there are no rows.
	Columns []string

	// Rows are the rows, each with a value for each column: nil, an integer, a float, a
	// bool, a string, a []byte or a [time.Time]. The values of a column should be of
	// one type.
	Rows [][]any

	// Affected is how many rows a statement has inserted, changed or deleted.
	Affected int64
}

// Error is an error of the server.
type Error struct {
	Code    string // Code is the SQLSTATE, such as "25006" for a write on a standby.
	Message string // Message is the text.
}

var (
	errFull     = &Error{"53300", "sorry, too many clients already"}
	errRefused  = &Error{"57P03", "the database system is starting up"}
	errKilled   = &Error{"57P01", "terminating connection due to administrator command"}
	errCanceled = &Error{"57014", "canceling statement due to user request"}
	errAborted  = &Error{"25P02", "current transaction is aborted, commands ignored until end of transaction block"}
)

// Error returns the severity, the message and the SQLSTATE.
func (e *Error) Error() string {
	return fmt.Sprintf("dbpooltest: %s: %s (SQLSTATE %s)", e.severity(), e.Message, e.Code)
}

// SQLState returns the code, as the errors of pgx and lib/pq do.
func (e *Error) SQLState() string { return e.Code }

// severity is FATAL for what ends a connection: no resources for it, or an operator.
func (e *Error) severity() string {
	if strings.HasPrefix(e.Code, "53") || strings.HasPrefix(e.Code, "57P") {
		return "FATAL"
	}
	return "ERROR"
}

// mostConnections is the largest max_connections that PostgreSQL takes.
const mostConnections = 262143

// answer returns what a query yields.
func (s *Server) answer(query string) (*Result, error) {
	if s.Answer != nil {
		if r, err := s.Answer(query); r != nil || err != nil {
			return r, err
		}
	}
	text := strings.ToLower(query)
	switch {
	case strings.Contains(text, "pg_settings"):
		limit := s.MaxConns
		if limit <= 0 {
			limit = mostConnections
		}
		return &Result{Columns: []string{"name", "setting"}, Rows: [][]any{
			{"max_connections", strconv.Itoa(limit)},
			{"superuser_reserved_connections", "0"},
		}}, nil
	case strings.Contains(text, "show transaction_read_only"): // target_session_attrs
		return &Result{Columns: []string{"transaction_read_only"}, Rows: [][]any{{"off"}}}, nil
	case strings.Contains(text, "pg_is_in_recovery"):
		return &Result{Columns: []string{"pg_is_in_recovery"}, Rows: [][]any{{false}}}, nil
	}
	return &Result{Columns: []string{"?column?"}, Rows: [][]any{{int64(1)}}, Affected: 1}, nil
}

// rows is a result that has been received in full.
type rows struct {
	columns []string
	values  [][]any
}

func (r *rows) Columns() []string { return r.columns }
func (r *rows) Close() error      { return nil }

func (r *rows) Next(dest []driver.Value) error {
	if len(r.values) == 0 {
		return io.EOF
	}
	row := r.values[0]
	r.values = r.values[1:]
	if len(row) != len(dest) {
		return fmt.Errorf("dbpooltest: a row of %d values for %d columns", len(row), len(dest))
	}
	for i, v := range row {
		converted, err := driver.DefaultParameterConverter.ConvertValue(v)
		if err != nil {
			return fmt.Errorf("dbpooltest: column %s: %w", r.columns[i], err)
		}
		dest[i] = converted
	}
	return nil
}
