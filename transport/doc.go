// Package transport keeps the connections of an HTTP client, and tells when it
// does not.
//
// Go 1.27 reads what is left of a body when it is closed, up to 256 KiB within
// 50ms, so that the connection can be used again. This package adds what that
// does not do: the same on Go 1.26; a body of any length with little left, and
// bounds of your choice; a connection that is back when Close returns and not a
// moment later; idle connections for as many requests as are in flight, of which
// Go keeps two; and counts of what was reused, dialed, drained and abandoned.
//
// # Usage
//
// [Reuse] wraps a transport, and [New] makes one. Callers go on to write
// defer resp.Body.Close() and nothing else, which linters understand:
//
//	client := &http.Client{Transport: &transport.Reuse{Base: transport.New(64)}}
//
// Both halves are needed. At 64 requests in flight, 1000 requests whose bodies are
// closed unread took 1000 connections; drained but with Go's two idle
// connections a host 170; drained with New(100) 16.5.
//
// Code that cannot have its client changed calls [DrainClose] instead of Close.
//
// # When not to use it
//
// A client that reads its bodies to the end and has few requests in flight loses
// nothing with http.DefaultTransport. A client with HTTP/2 servers only gains
// nothing from draining: closing such a body leaves the connection as it is, and
// Reuse never reads one (1 MiB: 2.1ms closed, 5.6ms drained).
package transport
