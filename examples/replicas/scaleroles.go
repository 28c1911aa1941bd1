package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/transport"
)

// scaleServer is a server process with nothing but streams and logins.
func scaleServer(ctx context.Context) int {
	if err := serveScale(ctx); err != nil {
		log.Print("server: ", err)
		return 1
	}
	return 0
}

func serveScale(ctx context.Context) error {
	capacity, err := strconv.ParseFloat(os.Getenv("CAPACITY"), 64)
	if err != nil {
		return err
	}
	const workers = 16
	free, took := make(chan struct{}, workers), time.Duration(workers/capacity*float64(time.Second))
	pacer := backoff.Pacer{MaxPending: 2 * workers, Rate: capacity}
	var streams, logins atomic.Int64
	stream := hijack
	if os.Getenv("STREAM") == "handler" {
		stream = handle
	}
	greeting := "window " + os.Getenv("WINDOW") + "\n"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /claim", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /stream", func(w http.ResponseWriter, r *http.Request) {
		logins.Add(1)
		slot, err := pacer.Enter()
		if d, ok := backoff.Hint(err); ok {
			w.Header().Set("Connection", "close")
			transport.SetRetryAfter(w.Header(), d)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		free <- struct{}{}
		time.Sleep(took)
		<-free
		slot.Done()
		streams.Add(1)
		stream(w, r, greeting, func() { streams.Add(-1) })
	})
	gate, err := listener.Reserve(ctx, "tcp", os.Getenv("PUBLIC"))
	if err != nil {
		return err
	}
	door := listener.Throttle(gate, listener.Limits{MaxConns: perProcess + 2000})
	defer door.Close()
	l, err := net.Listen("tcp", os.Getenv("PRIVATE"))
	if err != nil {
		return err
	}
	defer l.Close()
	failed := make(chan error, 2)
	go func() { failed <- http.Serve(door, mux) }()
	if err := gate.Open(ctx); err != nil {
		return err
	}
	go func() { failed <- http.Serve(l, scalePrivate(&streams, &logins)) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		return nil
	}
}

// handle keeps the stream in its handler, with the buffers and the two goroutines of net/http.
func handle(w http.ResponseWriter, r *http.Request, greeting string, ended func()) {
	defer ended()
	_, _ = io.WriteString(w, greeting)
	if http.NewResponseController(w).Flush() == nil {
		<-r.Context().Done()
	}
}

// hijack takes the connection from net/http, as servers of WebSockets do. One goroutine is
// left, which waits for the end.
func hijack(w http.ResponseWriter, _ *http.Request, greeting string, ended func()) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil { // lost already
		ended()
		return
	}
	go func() {
		defer ended()
		defer conn.Close()
		_, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"+greeting)
		if err == nil {
			_, _ = conn.Read(make([]byte, 1))
		}
	}()
}

// scalePrivate is what the measurement asks a server for.
func scalePrivate(streams, logins *atomic.Int64) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /counts", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(w, streams.Load(), logins.Load())
	})
	mux.HandleFunc("GET /free", func(http.ResponseWriter, *http.Request) { debug.FreeOSMemory() })
	return mux
}

// scaleAgents is a process of agents that are as small as they can be.
func scaleAgents(ctx context.Context) int {
	n, err := strconv.Atoi(os.Getenv("AGENTS"))
	if err != nil {
		return 1
	}
	window, err := time.ParseDuration(os.Getenv("WINDOW"))
	if err != nil {
		return 1
	}
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			b := backoff.Backoff{Splay: window, SplayFirst: true, StableAfter: time.Second, Policy: backoff.Policy{MaxHint: 2 * window}}
			for b.Next(ctx) {
				b.Fail(hold(ctx, os.Getenv("PUBLIC"), &b))
			}
		})
	}
	all.Wait()
	return 0
}

// hold is one stream, from dialing to its end.
func hold(ctx context.Context, address string, b *backoff.Backoff) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if _, err := fmt.Fprintf(conn, "GET /stream HTTP/1.1\r\nHost: %s\r\n\r\n", address); err != nil {
		return err
	}
	if err := greet(conn, b); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1)) // until it is lost
	return err
}

// greet reads the answer up to the window, with a buffer that goes with it.
func greet(conn net.Conn, b *backoff.Backoff) error {
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	in := bufio.NewReaderSize(conn, 512)
	res, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		if d, ok := transport.RetryAfter(res.Header); ok {
			return backoff.After(d, errors.New(res.Status))
		}
		return errors.New(res.Status)
	}
	line, err := bufio.NewReaderSize(res.Body, 64).ReadString('\n')
	if err != nil {
		return err
	}
	b.Up()
	if w, err := time.ParseDuration(strings.TrimSpace(strings.TrimPrefix(line, "window "))); err == nil {
		b.SetWindow(w)
	}
	return conn.SetReadDeadline(time.Time{})
}
