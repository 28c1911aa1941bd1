package transport

import (
	"math"
	"net"
	"net/http"
	"time"
)

// New returns a transport that keeps up to n idle connections to each host, for
// a client with up to n requests in flight to one host; n below 1 counts as 1.
// Go's default is 2 a host, so a client with 64 requests in flight closes 62
// connections as soon as they have answered. In all it keeps 2n, and 100 at
// least, so that a second host does not push the first one out.
//
// HTTP/2 connections are pinged after 30s of silence and given up 15s later: a
// peer that vanished without a word is otherwise found by the kernel, after 13
// to 30 minutes (golang/go#36026, kubernetes/client-go#374). IdleConnTimeout is
// 90s as in net/http; set it below the idle time-out of the server and of what
// stands between (nginx 75s), or requests meet connections that just died.
//
// The other values are those that http.DefaultTransport starts with, written
// out: what somebody changed there does not leak into here. There is no limit of
// connections a host (MaxConnsPerHost), since it can hang HTTP/2 requests
// (golang/go#34941). The result is the caller's to change before its first use.
func New(n int) *http.Transport {
	n = min(max(n, 1), math.MaxInt/2)
	dialer := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dialer.DialContext,
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
