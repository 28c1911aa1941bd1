// Package transport keeps the connections of an HTTP client, and tells when it
// does not.
//
// Go 1.27 reads what is left of a body when it is closed, up to 256 KiB within
// 50ms, so that the connection can be used again. This package adds what that
// does not do: the same on Go 1.26; a body of any length with little left, and
// bounds of your choice; a connection that is back when Close returns and not a
// moment later; idle connections for as many requests as are in flight, of which
// Go keeps two; and counts of what was reused, dialed, drained and abandoned. On
// either release it can give connections a maximum age, open one HTTP/2 connection
// for a burst of first requests, and find bodies that nobody closed.
//
// # Usage
//
// [New] makes a transport, and [Reuse] wraps it, or any other:
//
//	client := &http.Client{Transport: &transport.Reuse{
//		Base:       transport.New(64), // requests in flight to one host
//		MaxConnAge: 10 * time.Minute,  // follow DNS and load balancers
//		ColdStart:  true,              // 64 first requests over HTTP/2: one connection
//		Timeout:    30 * time.Second,  // of each exchange, with its body
//	}}
//
// Both halves are needed. At 64 requests in flight, 1000 requests whose bodies are
// closed unread took 1000 connections; drained but with Go's two idle
// connections a host 170; drained with New(100) 16.5.
//
// [Reuse.Stats] and [Reuse.Hosts] say how it went. [DrainClose] is for code that
// cannot have its client changed. [RetryAfter] and [MarkRetryable] are for requests
// that are sent again, and [SetRetryAfter] is for servers. [Transient] is the
// opposite of all this, for a host that is asked once.
//
// # Concurrency
//
// A Reuse serves any number of goroutines. It starts none of its own while requests
// are sent and read, and keeps none: what runs is a timer for a Close that takes
// long, and a goroutine for a moment when a request's context ends and for each
// report to OnLeak. A request costs one allocation more than without it, and two
// more if its context can end and is not that of the requests before.
//
// Close may be called beside Read, which it ends, and more than once. It blocks for
// as long as it drains, DrainTime at most, on an HTTP/1 body that was not read to
// its end, and not at all if more is known to be left than DrainBytes.
//
// # Expected behaviour of callers
//
// Callers go on to write defer resp.Body.Close() on every path, which linters
// understand, and read what they need. A request belongs to its caller as with any
// http.RoundTripper: it is not changed, and its context ends the exchange, at the
// price of an HTTP/1 connection.
//
// A body is not the one that net/http made. Who asserts its type finds an io.Writer
// only where there is one, after an upgrade (status 101), and then untouched.
//
// The last request on a connection that reached MaxConnAge goes to the server that
// it always went to. HTTP/1 servers then close the connection, so the port in
// TIME_WAIT is theirs.
//
// # Testing
//
// [github.com/connhygiene/connhygiene/transport/transporttest] is a server that
// counts connections and says why one was not used again. Everything here works in
// a testing/synctest bubble, except OnLeak.
//
// # When not to use it
//
// A client that reads its bodies to the end and has few requests in flight loses
// nothing with http.DefaultTransport. A client with HTTP/2 servers only gains
// nothing from draining: closing such a body leaves the connection as it is, and
// Reuse never reads one (1 MiB: 2.1ms closed, 5.6ms drained). There is no limit of
// connections here: the one of net/http can hang HTTP/2 requests
// (golang/go#34941).
//
// # Compared with
//
// Draining by hand, io.Copy(io.Discard, resp.Body) before Close, has no bound: it
// reads a gigabyte to save a handshake, and waits for ever for a body that stalls.
// With a bound and no look at the length it is the worst of both: 479us for a
// request of 1 MiB, where closing took 322us.
//
// DefaultPooledTransport of hashicorp/go-cleanhttp keeps GOMAXPROCS+1 idle
// connections a host and drains nothing. bufbuild/httplb has a maximum age for its
// transports, which are all renewed at once; here each connection has an age of its
// own, and the transport stays. http.Client.Timeout works with a Reuse and costs 22
// allocations more than [Reuse].Timeout.
package transport
