// Package listener is for servers whose clients all come at once: a port that is
// known before it is open, a private port that is never throttled, and an Accept
// that no client can break.
//
// It has three pieces, each a net.Listener made of net.Listeners, which can be
// used alone:
//
//   - [Gate] has its address from the beginning and lets clients in when told to.
//   - [Throttled] lets in no more than the server can log in.
//   - [Merged] is several listeners behind one Accept; [TwoPhase] is all three.
//
// # Usage
//
//	gate, err := listener.Reserve(ctx, "tcp", ":17070") // clients are refused, the address is ours
//	private, err := net.Listen("tcp", "127.0.0.1:17071")
//	go srv.Serve(listener.Merge(private, listener.Throttle(gate, listener.Limits{MaxPending: 20})))
//	// reach yourself through private.Addr(), and when all is well:
//	err = gate.Open(ctx)
//
// A handler calls [AdmitContext], with [ConnContext] as http.Server.ConnContext,
// when the client has logged in; other servers call [Admit].
//
// # Accept
//
// Accept of everything here returns a connection, or net.ErrClosed after Close, or
// the failure of the only listener underneath if it is there to stay. An error
// for one client would end http.Server.Serve, a temporary one make it sleep for up
// to a second. Close, which may be called twice, ends every wait, so
// http.Server.Shutdown returns when its context says so.
//
// # Rates and queues
//
// A rate limit in front of a queue of the usual length is a livelock: with 4096
// places and 150 connections a second the last client waits for 27 seconds, has
// left after one, and what is accepted is dead. Of 1500 clients with one second
// of patience 148 were ever served. A [Throttled] that waits makes the queue as
// long as its clients' patience and skips the dead: all 1500, in 1.5 times the
// least possible.
//
// [Limits.MaxPending] needs no rate at all. But clients that wait for it in a long
// queue and leave after half a second are about to leave when it is their turn:
// say so in [Limits.Patience], or use [Reset]. Clients that wait for as long as it
// takes, such as those of a [Gate] that parks, need neither.
//
// # Concurrency
//
// All methods may be called from any number of goroutines. A Gate and a Throttled have
// no goroutine of their own, except while a Reject hook says goodbye; a Merged has one
// for each of its listeners, from the first Accept to Close.
//
// # Expected behaviour of callers
//
// Who limits by MaxPending admits each client that has logged in: the others hold their
// places until they are closed, or for PendingTimeout. What is made of a listener owns
// it, so close the outermost only. TLS goes on top, tls.NewListener of a Throttled;
// Admit looks through it. A connection may be wrapped: ask it for NetConn, as one asks
// a tls.Conn, before asserting the type *net.TCPConn.
//
// # When not to use it
//
// A server whose clients are people, who do not all come back at once, needs no
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
