//go:build linux

package service

import (
	"syscall"
	"testing"
)

// StartPostgresPair starts a primary and a standby that follows it by streaming
// replication, as [StartPostgres] does one server. They end with the test.
func StartPostgresPair(tb testing.TB, maxConnections int) (primary, standby *Postgres) {
	tb.Helper()
	settings := []string{"wal_level=replica", "max_wal_senders=5", "hot_standby=on"}
	primary = startPostgres(tb, maxConnections, settings...)
	standby = &Postgres{tb: tb, bin: primary.bin, place: newPlace(tb, "standby")}
	run(tb, program{place: standby.place, path: standby.bin + "/pg_basebackup", args: []string{
		"--dbname=" + primary.AdminDSN(), "--pgdata=data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
	}})
	standby.configure(maxConnections, settings)
	standby.process, standby.Port = serve(tb, "database system is ready to accept read", standby.program)
	stopAtEnd(tb, syscall.SIGINT, func() *process { return standby.process })
	return primary, standby
}

// Promote makes a standby the primary. It returns when the server takes writes.
func (p *Postgres) Promote() {
	p.tb.Helper()
	p.psql("select pg_promote(true, 60)")
}

// Fence makes a primary refuse all writes from now on, also on connections that are open,
// with SQLSTATE 25006. Transactions in progress may end.
func (p *Postgres) Fence() {
	p.tb.Helper()
	p.psql("alter system set default_transaction_read_only = on")
	p.psql("select pg_reload_conf()")
}

// Admin runs a statement as the superuser.
func (p *Postgres) Admin(statement string) {
	p.tb.Helper()
	p.psql(statement)
}
