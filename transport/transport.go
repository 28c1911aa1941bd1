package transport

import (
	"math"
	"net"
	"net/http"
	"syscall"
	"time"
)

// New returns a transport that keeps up to n idle connections to each host, for
// a client with up to n requests in flight to one host; n below 1 counts as 1.
// Go's default is 2 a host, so a client with 64 requests in flight closes 62
// connections as soon as they have answered. In all it keeps 2n, and 100 at
// least, so that a second host does not push the first one out.
//
// It dials with [Dialer], which finds a peer that vanished without a word within
// 30s. HTTP/2 connections are also pinged after 30s of silence and given up 15s
// later (golang/go#36026, kubernetes/client-go#374). IdleConnTimeout is 90s as in
// net/http; set it below the idle time-outs of the server and of proxies between
// (nginx 75s), or requests meet connections that just died.
//
// The other values are those that http.DefaultTransport starts with, written
// out, so that changes there have no effect here. There is no limit of
// connections a host (MaxConnsPerHost), since it can hang HTTP/2 requests
// (golang/go#34941). The result is the caller's to change before its first use.
func New(n int) *http.Transport {
	n = min(max(n, 1), math.MaxInt/2)
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           Dialer().DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConns:          max(2*n, 100),
		MaxIdleConnsPerHost:   n,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: time.Second,
		HTTP2:                 &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

// Transient returns a transport whose connections end with their request, for a
// host that is asked once. Used for more, it costs a connection a request.
func Transient() *http.Transport {
	t := New(1)
	t.DisableKeepAlives = true
	return t
}

// vanished is how long after its last word a peer is known to have vanished.
const vanished = 30 * time.Second

// unacknowledged is how long data may remain unacknowledged. Linux also ends an idle
// connection at the first probe after that time, here at 25s. At 30s it would meet the
// HTTP/2 ping of [New], which is such data, stops the probes and begins the wait anew.
const unacknowledged = 25 * time.Second

// Dialer returns the dialer of [New], for a transport whose dialing is to differ in
// one thing. Each call returns another one, which is the caller's to change.
//
// Its connections end when the peer has vanished without a word: a node was lost, or
// a balancer forgot the connection. An idle connection is probed after 15s of silence
// and then every 5s, and ends with the third probe in a row without an answer, so
// after 30s (KeepAliveConfig). Data that is not acknowledged ends it after 25s,
// where the system can do that: Linux (TCP_USER_TIMEOUT), macOS
// (TCP_RXT_CONNDROPTIME) and Windows (TCP_MAXRT). Elsewhere, and where it fails, the
// system's own limit holds, such as 15 minutes. Set Control to nil to have the
// system's limit, or to a function of your own for another one.
func Dialer() *net.Dialer {
	return &net.Dialer{
		Timeout: 30 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable:   true,
			Idle:     vanished / 2,
			Interval: vanished / 6,
			Count:    3,
		},
		Control: func(_, _ string, c syscall.RawConn) error {
			// It is a precaution: without it, keep-alive and time-outs are left.
			return c.Control(func(fd uintptr) { _ = limitUnacknowledged(fd, unacknowledged) })
		},
	}
}
