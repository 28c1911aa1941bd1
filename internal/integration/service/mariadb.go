//go:build linux

package service

import (
	"fmt"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
)

// MariaDB is a MariaDB server, and so one that speaks MySQL's protocol. It takes no
// care of its data.
type MariaDB struct {
	Port int // Port is where it listens, on 127.0.0.1.

	socket string
}

// StartMariaDB starts a server that takes maxConnections connections of [User]. It
// ends with the test.
func StartMariaDB(tb testing.TB, maxConnections int) *MariaDB {
	tb.Helper()
	path := find(tb, "mariadbd", "mariadb-server")
	home := newPlace(tb, "mariadb")
	run(tb, program{place: home, path: find(tb, "mariadb-install-db", "mariadb-server"), args: []string{
		"--no-defaults", "--datadir=" + filepath.Join(home.dir, "data"), "--skip-test-db",
		"--auth-root-authentication-method=normal",
	}})
	accounts := home.write(tb, "accounts.sql", fmt.Sprintf("create user if not exists %s@'127.0.0.1' identified by '%s';\n", User, Password))
	p, port := serve(tb, "ready for connections", func(port int) program {
		return program{place: home, path: path, death: syscall.SIGKILL, args: []string{
			"--no-defaults", "--datadir=" + filepath.Join(home.dir, "data"), "--init-file=" + accounts,
			"--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port), "--socket=" + filepath.Join(home.dir, "socket"),
			"--max-connections=" + strconv.Itoa(maxConnections), "--skip-name-resolve",
			"--innodb-buffer-pool-size=16M", "--innodb-flush-log-at-trx-commit=0",
		}}
	})
	stopAtEnd(tb, syscall.SIGTERM, func() *process { return p })
	return &MariaDB{Port: port, socket: filepath.Join(home.dir, "socket")}
}

// DSN is that of the driver "mysql" for an ordinary user.
func (m *MariaDB) DSN() string {
	return fmt.Sprintf("%s:%s@tcp(127.0.0.1:%d)/", User, Password, m.Port)
}

// AdminDSN is that of the driver "mysql" for an administrator, whom read_only does not
// bind.
func (m *MariaDB) AdminDSN() string { return fmt.Sprintf("root@unix(%s)/", m.socket) }
