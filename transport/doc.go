// Package transport keeps the connections of an HTTP client (connection reuse), tells
// when the client does not, and survives servers that vanish without a word.
//
// From Go 1.27 on, closing a body reads the rest of it, up to 256 KiB within 50ms, so
// that the connection can be used again. This package adds:
//
//   - the same on Go 1.26;
//   - bounds of your choice, and a look at the length first: a long body with little
//     left is read, one with much left is closed at once;
//   - a connection that is back in the pool when Close returns, and not a moment later;
//   - a connection pool as large as the number of requests in flight, where Go keeps
//     two idle connections a host;
//   - counts of connections reused, dialed and lost, and of bodies drained;
//   - one failed request, and not one for each idle connection, when a server or the
//     path to it dies in silence;
//   - a maximum age of connections, one HTTP/2 connection for a burst of first
//     requests, and reports of bodies that were never closed.
//
// # Usage
//
// [New] makes a transport with a large pool. It is a plain *http.Transport: begin
// with it alone if some code asserts that type, to set a proxy or a dialer for
// instance, since such code finds nothing to set in a wrapper, or panics.
//
//	client := &http.Client{Transport: transport.New(64), Timeout: 30 * time.Second}
//
// [Reuse] wraps that transport, or any other:
//
//	client := &http.Client{Transport: &transport.Reuse{
//		Base:       transport.New(64), // requests in flight to one host
//		MaxConnAge: 10 * time.Minute,  // follow DNS and load balancers
//		ColdStart:  true,              // 64 first requests over HTTP/2: one connection
//		Silence:    5 * time.Second,   // without a byte of the answer
//		Timeout:    30 * time.Second,  // of each exchange, with its body
//	}}
//
// Draining and the pool are both needed. With 64 requests in flight whose bodies are
// closed unread, 1000 requests take 1000 connections; drained by hand, with Go's two
// idle connections a host, 542; with New(100) and Reuse 3 (docs/BENCHMARKS.md).
//
// [Reuse.Stats] and [Reuse.Hosts] count. [DrainClose] is for code that cannot have its
// client changed. [RetryAfter] and [MarkRetryable] are for requests that are sent
// again, and [SetRetryAfter] is for servers. [Transient] is the opposite of all this,
// for a host that is asked once.
//
// # Silent death
//
// A node is lost, or a balancer forgets a connection, and sends nothing: no reset, no
// end. Each idle connection then costs a request its whole time-out. With 16 idle
// connections net/http fails 16 requests in a row over HTTP/1, and over HTTP/2 all
// until a ping times out. Three means limit that:
//
//   - Keep-alive probes of New end an idle connection after 30s of silence.
//   - Reuse does not use connections again that have been silent for as long as one
//     that just failed: one request fails, whatever the number of connections. See
//     [Reuse].
//   - Silence and Timeout end that one request. Without any time-out, its connection is
//     ended by the operating system, 30s after data that the server does not acknowledge.
//
// # Concurrency
//
// A Reuse serves any number of goroutines. It has no goroutine of its own while
// requests are sent and read; a timer runs for a Close that takes long and for Silence,
// and a goroutine for each report to OnLeak. A request costs four allocations more than
// without a Reuse, of about 70, and a few more with Timeout or Silence.
//
// Close may be called beside Read, which it ends, and more than once. It blocks while
// it drains, for DrainTime at most, on an HTTP/1 body that was not read to its end, and
// not at all if more is known to be left than DrainBytes.
//
// # Expected behaviour of callers
//
// Callers go on to write defer resp.Body.Close() on every path, which linters
// understand, and read only the part they need. A request belongs to its caller as with
// any http.RoundTripper: it is not changed, and its context ends the exchange, at the
// price of an HTTP/1 connection.
//
// A body is not the one that net/http made. Code that asserts its type finds an
// io.Writer only where there is one, after an upgrade (status 101), and then untouched.
//
// The last request on a connection that reached MaxConnAge goes to the same server as
// those before. HTTP/1 servers then close the connection, so the port in TIME_WAIT is
// theirs.
//
// # Testing
//
// [github.com/connhygiene/connhygiene/transport/transporttest] is a server that
// counts connections, says why one was not used again, and can let them vanish.
// Everything here works in a testing/synctest bubble, except OnLeak.
//
// # When not to use it
//
// A client that reads its bodies to the end, has few requests in flight and never
// meets a dead connection gains nothing over http.DefaultTransport. A client of HTTP/2 servers
// gains nothing from draining: closing such a body leaves the connection as it is, and
// Reuse never reads one (1 MiB: 2.1ms closed, 5.6ms drained). There is no limit of
// connections here: the limit of net/http can hang HTTP/2 requests (golang/go#34941).
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
// own, and the transport stays. None of the three notices a silent death.
// http.Client.Timeout works with a Reuse and costs more than [Reuse].Timeout.
package transport
