//go:build linux

package service

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// The accounts of a test server: an ordinary one, so that the connections which
// PostgreSQL keeps back for superusers are kept back, and a superuser's.
const (
	User      = "app"      // User is the role that Postgres.DSN logs in as.
	Superuser = "postgres" // Superuser is the role that Postgres.AdminDSN logs in as.
	Password  = "secret"   // Password is that of both.
)

// Postgres is a PostgreSQL server with scram-sha-256 passwords, as installed, and
// without fsync, as nobody should run it.
type Postgres struct {
	Port int // Port is where it listens, on 127.0.0.1; it survives a restart.

	tb   testing.TB
	bin  string
	args []string
	place
	process *process
	former  int // connections that the processes before this one accepted
}

// StartPostgres starts a server that takes maxConnections connections, three of
// them from superusers only. It ends with the test.
func StartPostgres(tb testing.TB, maxConnections int) *Postgres {
	tb.Helper()
	return startPostgres(tb, maxConnections, "wal_level=minimal", "max_wal_senders=0")
}

func startPostgres(tb testing.TB, maxConnections int, settings ...string) *Postgres {
	tb.Helper()
	bin := filepath.Dir(find(tb, "postgres", "postgresql"))
	p := &Postgres{tb: tb, bin: bin, place: newPlace(tb, "postgres")}
	password := p.write(tb, "password", Password)
	run(tb, program{place: p.place, path: bin + "/initdb", args: []string{
		"--pgdata=data", "--username=" + Superuser, "--pwfile=" + password, "--auth=scram-sha-256",
		"--locale=C", "--encoding=UTF8", "--no-sync",
	}})
	p.configure(maxConnections, settings)
	p.process, p.Port = serve(tb, postgresReady, p.program)
	stopAtEnd(tb, syscall.SIGINT, func() *process { return p.process })
	p.psql("create role " + User + " login password '" + Password + "'")
	return p
}

// configure sets the arguments of the server.
func (p *Postgres) configure(maxConnections int, settings []string) {
	p.args = []string{"-D", "data"}
	for _, setting := range append([]string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=" + p.dir,
		"max_connections=" + strconv.Itoa(maxConnections), "shared_buffers=16MB",
		"fsync=off", "synchronous_commit=off", "full_page_writes=off",
		"autovacuum=off", "jit=off", "log_connections=on",
	}, settings...) {
		p.args = append(p.args, "-c", setting)
	}
}

const postgresReady = "database system is ready to accept connections"

// program is the server. SIGQUIT ends it without a farewell to its clients.
func (p *Postgres) program(port int) program {
	args := append([]string{"-p", strconv.Itoa(port)}, p.args...)
	return program{place: p.place, path: p.bin + "/postgres", args: args, death: syscall.SIGQUIT}
}

// psql runs a statement as the superuser.
func (p *Postgres) psql(statement string) {
	p.tb.Helper()
	run(p.tb, program{
		place: p.place,
		path:  p.bin + "/psql",
		args:  []string{"--no-psqlrc", "--set=ON_ERROR_STOP=1", "--command=" + statement, p.AdminDSN()},
	})
}

// DSN logs in as an ordinary user. Both pgx and lib/pq understand it.
func (p *Postgres) DSN() string { return dsn(User, p.Port) }

// AdminDSN logs in as a superuser, who gets in when the server is full.
func (p *Postgres) AdminDSN() string { return dsn(Superuser, p.Port) }

func dsn(user string, port int) string {
	return fmt.Sprintf("postgres://%s:%s@127.0.0.1:%d/postgres?sslmode=disable", user, Password, port)
}

// Connects returns how many connections have logged in since the server was first
// started, those of a pooler, of superusers and of tests included.
func (p *Postgres) Connects() int {
	return p.former + p.process.log.count("connection authorized: ")
}

// Stop ends all connections and the server, as "pg_ctl stop -m fast" does. Stop and
// Start belong to one goroutine at a time.
func (p *Postgres) Stop() error {
	return p.process.stop(syscall.SIGINT)
}

// Start starts a stopped server again, on the same port. It returns when the server
// accepts connections.
func (p *Postgres) Start() error {
	former := p.Connects()
	next, err := p.program(p.Port).start()
	if err != nil {
		return err
	}
	p.process, p.former = next, former
	return next.ready(postgresReady, 1)
}
