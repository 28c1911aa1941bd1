// Package listenertest is a network of one listener, in memory.
//
// It is for tests in a testing/synctest bubble, where real sockets cannot be
// used: a goroutine that waits for one never counts as idle, so time in the bubble
// stands still. Everything that waits in this package (Accept, Dial, Read and
// Write) is idle in that sense, and its deadlines run on the bubble's clock.
//
//	l := listenertest.New()
//	go srv.Serve(l)
//	client := &http.Client{Transport: &http.Transport{DialContext: l.DialContext}}
//
// # Like a kernel
//
// Dial returns when the connection is in the listener's queue and does not wait
// for Accept; a full queue makes it wait, a closed listener refuses. A
// connection holds 64 KiB in each direction, ends in order or by a reset (SetLinger
// and Close), and can be half closed (CloseWrite). There is no latency and no loss.
//
// # Unlike a kernel
//
// Connections are of no exported type. Beside net.Conn they have CloseWrite,
// SetLinger, PeerClosed, which reports that the other end has finished, and
// Waited, which is how long ago the connection came into the queue; there is no
// SyscallConn.
package listenertest
