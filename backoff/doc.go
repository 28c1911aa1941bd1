// Package backoff retries and reconnects: exponential backoff with jitter for clients,
// and admission control with a time to come back (load shedding with Retry-After)
// for their server. A fleet that uses it comes back from an outage without a
// thundering herd.
//
// [Retry] and [Do] call a function until it succeeds. [Backoff] is the reconnect loop
// of a long-lived client. [Policy] is the schedule of both: a plain value whose zero
// value is ready. [Pacer] is the server's part.
//
// # Usage
//
// The whole of a reconnect loop:
//
//	var b backoff.Backoff // 500ms to 30s, doubling, half of each delay random
//	for b.Next(ctx) {     // waits until the next attempt is due; false means stop
//		err := connect(ctx, b.Up) // calls Up once connected, returns when the stream is lost
//		b.Fail(err)
//	}
//	if ctx.Err() != nil {
//		return nil // an ordinary shutdown
//	}
//	return b.Err() // an error that no attempt can cure, or the limits of the policy
//
// End the loop with b.Err() and not with ctx.Err(): a wait that would not end before the
// deadline is not begun, and then ctx has not ended yet. Keep the Backoff outside
// of the objects that are built anew for each session: a new one knows of no failure, and a
// server that accepts and kills would be asked again at once.
//
// The whole of the server's part, where p is a Pacer and work is the costly operation:
//
//	slot, err := p.Enter()
//	if err != nil {
//		return err // says when to come back: pass it on, see Hint
//	}
//	defer slot.Cancel() // does nothing after Done
//	if err := work(ctx); err != nil {
//		return err
//	}
//	slot.Done()
//
// The delays of the zero Policy, in seconds, after n failures in a row:
//
//	n      1          2       3    4    5     6      7 and more
//	delay  0.25–0.5   0.5–1   1–2  2–4  4–8   8–16   15–30
//
// Fleets should set Backoff.Splay, or have their server announce a window. Of 800
// agents that lose a server for 0.3s, more than 300 arrive within the same 0.1s
// if Splay is off, and at most 30 with a Splay of 10s. A sound Splay is the number
// of agents divided by the logins a second that the server can do.
//
// # Order of waits
//
// The server's word comes before the client's own schedule. The wait before an attempt
// is, in this order: the hint of the last error, the slot of the window that the
// server announced, the splay if a stable connection was lost, the schedule.
//
// # Expected behaviour of callers
//
// Call Up when a session is of use: after the login and not after the dial. Up does
// not forget the failures yet, since a server that accepts and then kills would
// be hammered; a session that lived StableAfter does.
//
// A server that watches for silent clients must allow for Policy.Max, or it takes
// a client that waits for one that is gone.
//
// # Concurrency
//
// Policy, Retry, Do and Pacer may be used by any number of goroutines. Next belongs to
// one goroutine, and the other methods of Backoff may be called beside it.
//
// # Testing
//
// There is no clock to replace: put the loop into a [testing/synctest] bubble, where
// an hour of waiting takes no time and is exact to the nanosecond.
//
// # When not to use it
//
// A client that makes many calls a second needs a retry budget, hedging or a circuit
// breaker as well: failsafe-go has them. There is no retry budget and no throttle here
// on purpose: for an agent with one connection they only delay the return.
//
// # Compared with
//
// Unlike cenkalti/backoff, avast/retry-go and sethvargo/go-retry this package
// jitters below its maximum and not around it, resets after a stable session
// and not on connect, caps the wait that a server may ask for, and allocates nothing while
// a client loops. The figures are in docs/BENCHMARKS.md.
package backoff
