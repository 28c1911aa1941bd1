// Package listener is admission control and load shedding for a net.Listener: a port that is reserved
// before it accepts, a private port that no limit applies to, a concurrency limit for
// logins, and a graceful shutdown at a pace. It is for servers whose clients all
// reconnect at once (a thundering herd).
//
// It has three pieces, each a net.Listener made of net.Listeners, which can be
// used alone:
//
//   - [Gate] has its address from the beginning and accepts when told to.
//   - [Throttled] accepts no more than the server can log in, and drains.
//   - [Merged] is several listeners behind one Accept; [TwoPhase] is all three.
//
// # Usage
//
// Most servers need one call. Clients of the public port are refused until Open, while
// the server reaches itself through the private one:
//
//	l, err := listener.ListenTwoPhase(ctx, "tcp", "127.0.0.1:17071", ":17070", listener.Limits{MaxPending: 20})
//	if err != nil {
//		return err
//	}
//	srv := &http.Server{Handler: handler, ConnState: listener.ConnState}
//	defer srv.Close()
//	end := listener.HTTPEnd(srv, 0)
//	go srv.Serve(l)
//	// check yourself at l.Private.Addr(), and when all is well:
//	if err := l.Open(ctx); err != nil {
//		return err
//	}
//	<-sigterm
//	// at half the pace at which other replicas can log clients in:
//	if err := l.Public.Drain(ctx, 50, end); err != nil {
//		return err
//	}
//	return srv.Shutdown(ctx)
//
// One Accept means one handler for both ports. If the private port is for other
// requests, serve l.Private and l.Public with a server each.
//
// With MaxPending set, a handler calls [AdmitContext] when the client has logged in; other
// servers call [Admit], and gRPC [Throttled.AdmitAddr]. Every handler of the port must
// admit, or [ConnState] must be set, which admits a connection when it has been answered:
// health checkers and browsers hold pending places otherwise, for 10s each.
//
// The parts are [Reserve] for the port alone, [Throttle] for the limits over any
// listener, [Merge] for the ports, and [NewGate] for a socket that is inherited from
// systemd or a predecessor.
//
// # Accept
//
// Accept of everything here returns a connection, or net.ErrClosed after Close, or
// a permanent error of the only listener underneath. Most servers end when Accept
// returns an error for one client (http.Server.Serve), and sleep for up to a second after
// a temporary one. Close, which may be called twice, ends every wait, so that
// http.Server.Shutdown returns when its context says so.
//
// # Rates and queues
//
// A rate limit in front of a queue of the usual length is a livelock. With 4096
// places and 150 connections a second, the last client is accepted after 27 seconds, but
// has given up after one: 148 of 1500 clients with one second of patience were ever
// served. A [Throttled] that waits makes the queue as long as its clients' patience and
// skips abandoned connections: all 1500, in 1.5 times the least possible.
//
// [Limits.MaxPending] needs no rate at all. If clients wait in a long queue and give up after
// a while, set [Limits.Patience], which rejects those that are about to give up, or use
// [Reset] if they back off. Clients that wait for as long as it takes, such as those of a
// [Gate] that parks, need neither.
//
// # Shutdown, restarts and replicas
//
// [Throttled.Drain] ends connections at a pace, in the protocol's own words, so that the
// other replicas see no burst; [Throttled.State] is for the balancer's health check.
// [Limits.MaxAge] and [Throttled.Rebalance] spread connections again afterwards. A gate
// that parks passes a TCP health check though it answers nothing: do not use one behind a
// balancer.
//
// For a restart on the same machine [Gate.File] passes the socket on, so that no client is
// refused; see the handover example.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. A Gate and a Throttled have no
// goroutine of their own, except while a Reject hook runs, while an address is waited for, the
// timer of MaxAge, and under NewGate of a listener without deadlines; a Merged has one for
// each of its listeners, from the first Accept to Close.
//
// # Expected behaviour of callers
//
// If you set MaxPending, admit each client that has logged in: the others hold their places
// until they are closed, or for PendingTimeout. A wrapper owns the listener it wraps, so close
// the outermost only. TLS goes on top, tls.NewListener of a Throttled; Admit looks through it,
// and through the wrappers of go-proxyproto, cmux and most others. A connection may be
// wrapped: ask it for NetConn, as one asks a tls.Conn, before asserting the type *net.TCPConn.
//
// # Systems
//
// A gate that refuses needs Linux; a gate that parks works everywhere. Skipping abandoned
// connections is exact on Linux and works on other Unix systems if the client has sent
// nothing. Queues are sized on Unix. Clients that vanish free their places within 30s on
// Linux; elsewhere as the listener's keep-alive has it. On Windows use Overflow Reset.
//
// # When not to use it
//
// A server whose clients are people, and do not all come back at once, needs no
// limit but its own. For limits on requests, rather than connections, use middleware.
//
// # Testing
//
// Package [github.com/connhygiene/connhygiene/listener/listenertest] has a listener
// that works in a testing/synctest bubble, where sockets do not.
//
// # Compared with
//
// golang.org/x/net/netutil.LimitListener is enough to bound the open connections of a
// server that has nothing to log in: MaxConns does the same. Agents keep theirs for
// weeks, so it is either too high to protect a login or too low for the fleet. Of 1000
// agents with half a second of patience, at a server that logs in 100 a second, 35 were
// in through it after three times the least possible, 40 with a rate limit before
// Accept, and all with MaxPending and Patience, after 1.1 times (docs/BENCHMARKS.md).
package listener
