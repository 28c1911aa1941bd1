package dbpool

import "time"

// Server returns the settings of an ordinary service with n connections.
//
//   - MaxIdle is n. 32 workers with think time on PostgreSQL made 376 connects in
//     1000 queries with database/sql's default of two idle, 26 with 50 open and 20
//     idle, and none in steady state with 32 and 32; throughput was 7.4 times that
//     of the default. block/spirit#1098 and mattermost/docs#8378 met the same.
//   - MaxLifetime is an hour, as in pgxpool, PgBouncer (server_lifetime) and
//     Mattermost, so that a server that was added or replaced gets its share.
//   - MaxIdleTime is ten minutes, as in HikariCP and PgBouncer
//     (server_idle_timeout), so that a peak is given back to other users of the
//     server, and not within the quiet moment before the next one.
func Server(n int) Config {
	return Config{MaxOpen: n, MaxIdle: n, MaxLifetime: time.Hour, MaxIdleTime: 10 * time.Minute}
}

// AuthPath returns the settings of a pool that answers logins and authentications.
// It is that of [Server] without a MaxIdleTime: the storm of logins comes after a
// quiet time, at which a pool that had shrunk would have to open its connections
// first. percona/pmm#5338 is such a storm.
func AuthPath(n int) Config {
	return Config{MaxOpen: n, MaxIdle: n, MaxLifetime: time.Hour}
}

// PgBouncer returns the settings of a pool of n connections whose server is a
// PgBouncer or another pooler.
//
//   - MaxIdle is n: a login costs less there than on the server, and still many
//     times a query.
//   - MaxLifetime is five minutes and MaxIdleTime 30 seconds, as Mattermost sets
//     them in PgBouncer itself (mattermost/mattermost-cloud#746). In session
//     mode an idle connection of ours occupies one of the pooler's; and poolers
//     are replaced more often than databases.
//
// In transaction mode n is the number of workers of this process, and the sum over all
// processes must stay below the pooler's max_client_conn: a connection to the pooler is
// cheap, and the pooler divides its own. Three processes of 16 workers did 15,085 queries
// with n = 16, and 4,182 with n = 2, a share of the pooler's 20. In session mode each
// connection holds one of the pooler's: divide its default_pool_size with a [Budget].
// How many connections the pooler needs behind it is a question for [Budget.PerTenant].
//
// In transaction mode a driver must not prepare statements that PgBouncer does not know
// (before 1.21, or without max_prepared_statements): pgx needs
// default_query_exec_mode=exec in its DSN, or queries fail with SQLSTATE 42P05.
func PgBouncer(n int) Config {
	return Config{MaxOpen: n, MaxIdle: n, MaxLifetime: 5 * time.Minute, MaxIdleTime: 30 * time.Second}
}

// Agent returns the settings of a small process that exists a thousand times.
//
//   - MaxOpen is two. With one, a query inside the loop over another query's rows
//     waits for ever; a second connection is opened only then.
//   - MaxIdleTime is five minutes, the default of Mattermost
//     (mattermost/mattermost#16792) and longer than the usual interval of an
//     agent's work, one minute or less, so that it keeps its connection from one
//     round to the next.
//   - MaxLifetime is an hour, for the reason given at [Server].
func Agent() Config {
	return Config{MaxOpen: 2, MaxIdle: 2, MaxLifetime: time.Hour, MaxIdleTime: 5 * time.Minute}
}

// Lambda returns the settings of a function that serves one request at a time and
// is frozen between two.
//
//   - MaxOpen is two, for the reason given at [Agent].
//   - MaxLifetime is three minutes, the advice of the MySQL driver
//     (github.com/go-sql-driver/mysql, "Important settings"): below the five
//     minutes after which some routers and load balancers forget a connection. No
//     timer runs in a function that is frozen, so that it is the age at the next
//     use that counts.
//   - MaxIdleTime is one minute: instances are many and short-lived, and each that
//     waits for work holds a place of the server.
func Lambda() Config {
	return Config{MaxOpen: 2, MaxIdle: 2, MaxLifetime: 3 * time.Minute, MaxIdleTime: time.Minute}
}
