// Package transporttest shows in a test whether an HTTP client keeps its
// connections: a server that counts them, over real sockets or in memory.
//
// A comment that says "the body is drained so that the connection is reused" is
// worth nothing, and a test that takes less than two seconds is no proof. The
// server knows:
//
//	func TestPollKeepsItsConnection(t *testing.T) {
//		srv := transporttest.NewServer(t, handler)
//		client := NewClient(srv.URL, srv.Client())
//		for range 10 {
//			client.Poll(t.Context())
//		}
//		srv.WantConns(1)
//	}
//
// Let the handler send a body, and test the paths of a 403 and a 500 too: an empty
// body hides the bug, and error paths are where a body is forgotten.
//
// [NewServer] speaks HTTP/1, [NewTLSServer] HTTP/1 over TLS, [NewHTTP2Server]
// HTTP/2 over TLS, all on the loopback interface; [NewPipeServer] speaks HTTP/1 in
// memory, so that it works inside a testing/synctest bubble, where an hour of idle
// time passes at once. [Check] fails a test that leaves a body open.
package transporttest
