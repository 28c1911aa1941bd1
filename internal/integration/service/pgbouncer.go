//go:build linux

package service

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// PgBouncer is a pooler in transaction mode in front of a [Postgres].
type PgBouncer struct {
	Port int // Port is where it listens, on 127.0.0.1.
}

// PgBouncerConfig says how connections are shared out. Each tenant has a user of
// its own in one database, and so a pool of its own.
type PgBouncerConfig struct {
	Tenants        int // Tenants is the number of users: tenant0, tenant1 and so on.
	PoolSize       int // PoolSize is the most connections that one tenant may hold.
	MaxConnections int // MaxConnections is the most that all tenants may hold together.
}

// StartPgBouncer starts a pooler. It ends with the test.
func StartPgBouncer(tb testing.TB, server *Postgres, c PgBouncerConfig) *PgBouncer {
	tb.Helper()
	path := find(tb, "pgbouncer", "pgbouncer")
	home := newPlace(tb, "pgbouncer")
	users := home.write(tb, "users", c.users())
	server.createTenants(c.Tenants)

	p, port := serve(tb, "process up: ", func(port int) program {
		conf := home.write(tb, "pgbouncer.ini", c.text(server.Port, port, users))
		return program{place: home, path: path, args: []string{conf}, death: syscall.SIGTERM}
	})
	stopAtEnd(tb, syscall.SIGTERM, func() *process { return p })
	return &PgBouncer{Port: port}
}

func tenant(i int) string { return fmt.Sprintf("tenant%d", i) }

// createTenants creates those users that are not there yet.
func (p *Postgres) createTenants(n int) {
	p.tb.Helper()
	var sql strings.Builder
	sql.WriteString("do $$ begin\n")
	for i := range n {
		fmt.Fprintf(&sql, "if not exists (select from pg_roles where rolname = '%[1]s') then\n"+
			"create role %[1]s login password '%[2]s'; end if;\n", tenant(i), Password)
	}
	sql.WriteString("end $$")
	p.psql(sql.String())
}

// users is the file of passwords, with which PgBouncer logs in as well.
func (c PgBouncerConfig) users() string {
	var text strings.Builder
	for i := range c.Tenants {
		fmt.Fprintf(&text, "%q %q\n", tenant(i), Password)
	}
	return text.String()
}

// text is the configuration file.
func (c PgBouncerConfig) text(server, port int, users string) string {
	return fmt.Sprintf(`[databases]
postgres = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_db_connections = %d
max_client_conn = 1000
server_login_retry = 1
log_connections = 0
log_disconnections = 0
`, server, port, users, c.PoolSize, c.MaxConnections)
}

// DSN logs in as one tenant. Its pool lends a connection for one transaction, so
// prepared statements do not work.
func (b *PgBouncer) DSN(i int) string { return dsn(tenant(i), b.Port) }
