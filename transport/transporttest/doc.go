// Package transporttest shows in a test whether an HTTP client keeps its
// connections: a server that counts them, over real sockets or in memory.
//
// A comment that says "the body is drained so that the connection is reused" is
// worth nothing, and a test that takes less than two seconds is no proof. The
// server knows:
//
//	func TestPollKeepsItsConnection(t *testing.T) {
//		srv := transporttest.NewServer(t, status)
//		client := pollClient{url: srv.URL, http: srv.Client()}
//		transporttest.Check(t, client.http) // names bodies that are never closed
//		for range 10 {
//			_ = client.poll(t.Context())
//		}
//		srv.WantConns(1)
//	}
//
// Let the handler send a body, and test the paths of a 403 and a 500 too: an empty
// body hides the bug, and error paths are where a body is forgotten.
//
// A failure says why, with the lines that sent the request, each called by the next:
//
//	transporttest: 10 connections for 10 requests, want at most 1
//		10 connections, 1 to 10, each: one request, GET /poll (client/send.go:93 < client/poll.go:41); then closed by the client: the body of its last answer was not read to EOF before Close, or its context ended
//
// [Check] fails a test that leaves a body open, or whose client cannot keep a
// connection, and makes the reports of the server certain.
//
// [Server.Vanish] silences the connections that are open, as a lost node or a
// forgetful balancer does: the way to see how many requests a silent death costs.
//
// [NewServer] speaks HTTP/1, [NewTLSServer] HTTP/1 over TLS, [NewHTTP2Server]
// HTTP/2 over TLS, all on the loopback interface; [NewPipeServer] speaks HTTP/1 in
// memory, so that it works inside a testing/synctest bubble, where an hour of idle
// time passes at once.
package transporttest
