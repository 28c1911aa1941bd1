package figures

import (
	"database/sql"
	"time"

	"github.com/connhygiene/connhygiene/dbpool"
)

// Dial returns the figures of a dbpool.Connector.
func Dial() []Figure[dbpool.DialStats] {
	type S = dbpool.DialStats
	const p = "connhygiene.dbpool.dial."
	return []Figure[S]{
		counter(p+"opened", "{connection}", "Dials that yielded a connection.", func(s S) uint64 { return s.Opened }),
		counter(p+"failed", "{call}", "Dials that did not.", func(s S) uint64 { return s.Failed }),
		counter(p+"overloaded", "{call}", "Failed dials to a server that was full or starting.", func(s S) uint64 { return s.Overloaded }),
		counter(p+"abandoned", "{call}", "Dials whose caller left.", func(s S) uint64 { return s.Abandoned }),
		counter(p+"adopted", "{call}", "Abandoned dials that another caller took over.", func(s S) uint64 { return s.Adopted }),
		counter(p+"expired", "{connection}", "Abandoned dials whose connection nobody took.", func(s S) uint64 { return s.Expired }),
		counter(p+"flushed", "{call}", "Flushes, which end the connections opened before.", func(s S) uint64 { return s.Flushed }),
		gauge(p+"dialing", "{call}", "Dials under way.", func(s S) int { return s.Dialing }),
		gauge(p+"dialing_max", "{call}", "The most dials that were under way at once.", func(s S) int { return s.MaxDialing }),
		gauge(p+"waiting", "{call}", "Callers for whom no dial is under way.", func(s S) int { return s.Waiting }),
		gauge(p+"spare", "{connection}", "Abandoned connections that wait for a caller.", func(s S) int { return s.Spare }),
		seconds(p+"time", "How long all dials took.", func(s S) time.Duration { return s.DialTime }),
		seconds(p+"wait", "How long all callers waited before a dial was under way.", func(s S) time.Duration { return s.WaitTime }),
	}
}

// Pool returns the figures of a sql.DB. Prometheus users may have them already, as
// go_sql_*, from the collector of their library.
func Pool() []Figure[sql.DBStats] {
	type S = sql.DBStats
	const p = "connhygiene.dbpool."
	return []Figure[S]{
		gauge(p+"connections_limit", "{connection}", "Most connections that may be open.", func(s S) int { return s.MaxOpenConnections }),
		gauge(p+"connections_open", "{connection}", "Connections that are open.", func(s S) int { return s.OpenConnections }),
		gauge(p+"connections_in_use", "{connection}", "Connections that are in use.", func(s S) int { return s.InUse }),
		gauge(p+"connections_idle", "{connection}", "Connections that are idle.", func(s S) int { return s.Idle }),
		counter(p+"waits", "{call}", "Waits for a connection.", func(s S) int64 { return s.WaitCount }),
		seconds(p+"wait", "How long all callers waited for a connection.", func(s S) time.Duration { return s.WaitDuration }),
		counter(p+"closed_idle", "{connection}", "Connections closed because MaxIdle were idle already.", func(s S) int64 { return s.MaxIdleClosed }),
		counter(p+"closed_idle_time", "{connection}", "Connections closed because they were idle too long.", func(s S) int64 { return s.MaxIdleTimeClosed }),
		counter(p+"closed_lifetime", "{connection}", "Connections closed because they were too old.", func(s S) int64 { return s.MaxLifetimeClosed }),
	}
}
