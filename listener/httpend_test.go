package listener_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// replica is an http.Server behind a Throttled, with handlers that know of no drain.
type replica struct {
	inner   *listenertest.Listener
	l       *listener.Throttled
	srv     *http.Server
	end     func(net.Conn)
	begin   time.Time
	mu      sync.Mutex
	arrived []time.Duration // connections
	served  chan error
}

func newReplica() *replica {
	r := &replica{inner: listenertest.New(), begin: time.Now(), served: make(chan error, 1)}
	r.l = listener.Throttle(r.inner, listener.Limits{MaxConns: 5000})
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, req *http.Request) {
		time.Sleep(10 * time.Millisecond)
		_, _ = io.Copy(w, req.Body)
	})
	mux.HandleFunc("/stream", stream)
	mux.HandleFunc("/socket", webSocket)
	r.srv = &http.Server{Handler: mux, Protocols: new(http.Protocols)}
	r.srv.Protocols.SetHTTP1(true)
	r.srv.Protocols.SetUnencryptedHTTP2(true)
	r.srv.ConnState = func(_ net.Conn, s http.ConnState) {
		if s != http.StateNew {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.arrived = append(r.arrived, time.Since(r.begin))
	}
	r.end = listener.HTTPEnd(r.srv, 0)
	go func() { r.served <- r.srv.Serve(r.l) }()
	return r
}

func (r *replica) close(t *testing.T) {
	require.NoError(t, r.srv.Close())
	require.ErrorIs(t, <-r.served, http.ErrServerClosed)
}

// stream answers until it is told to end, as a handler that knows Leaving.
func stream(w http.ResponseWriter, r *http.Request) {
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	for {
		fmt.Fprintln(w, "beat")
		_ = http.NewResponseController(w).Flush()
		select {
		case <-beat.C:
		case <-r.Context().Done():
			return
		case <-listener.Leaving(r.Context()):
			fmt.Fprintln(w, "bye")
			return
		}
	}
}

// webSocket stands for a hijacked connection: it echoes lines, and says bye.
func webSocket(w http.ResponseWriter, r *http.Request) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	go func() {
		<-listener.Leaving(r.Context())
		fmt.Fprintln(c, "bye")
	}()
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return // the client answers bye by hanging up
		}
		fmt.Fprint(c, line)
	}
}

// fleet are clients of a replica and of its successor.
type fleet struct {
	old, successor *replica
	stop           context.Context
	mu             sync.Mutex
	failed         []error
}

func (f *fleet) dial(ctx context.Context) (net.Conn, error) {
	c, err := f.old.inner.Dial(ctx)
	if err == nil {
		return c, nil
	}
	return f.successor.inner.Dial(ctx)
}

func (f *fleet) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = append(f.failed, err)
}

// asks is a client with a request every half second, half of them not to be repeated.
func (f *fleet) asks(h2 bool) {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return f.dial(ctx) },
		Protocols:   new(http.Protocols),
	}
	tr.Protocols.SetHTTP1(!h2)
	tr.Protocols.SetUnencryptedHTTP2(h2)
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
	time.Sleep(rand.N(500 * time.Millisecond))
	for i := 0; f.stop.Err() == nil; i++ {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		req, err := http.NewRequest(method, "http://server/", io.MultiReader(strings.NewReader("hello"))) // no GetBody
		if err != nil {
			panic(err)
		}
		resp, err := client.Do(req)
		if err == nil {
			var body []byte
			body, err = io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err == nil && string(body) != "hello" {
				err = fmt.Errorf("answered %q", body)
			}
		}
		if err != nil {
			f.fail(err)
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// socket is a client that talks over one connection until it is told to move.
func (f *fleet) socket() {
	time.Sleep(rand.N(500 * time.Millisecond))
	for f.stop.Err() == nil {
		if err := f.session(); err != nil {
			f.fail(err)
		}
	}
}

func (f *fleet) session() error {
	c, err := f.dial(f.stop)
	if err != nil {
		return err
	}
	defer c.Close()
	fmt.Fprint(c, "GET /socket HTTP/1.1\r\nHost: server\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\n")
	r := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			return err
		}
	}
	for f.stop.Err() == nil {
		fmt.Fprintln(c, "hello")
		line, err := r.ReadString('\n')
		switch {
		case err != nil:
			return err
		case line == "bye\n":
			return nil
		}
		_ = c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		_, err = r.ReadByte()
		switch {
		case err == nil:
			return nil // bye
		case !errors.Is(err, errDeadline):
			return err
		}
		_ = c.SetReadDeadline(time.Time{})
	}
	return nil
}

// Connections move to the successor, a tenth of them each second: no request fails, the
// successor sees no burst, and it takes 10 to 11 s. With -run DrainOfAThousand there
// are 1000 of them.
func TestDrainOfAThousand(t *testing.T) {
	for name, run := range map[string]func(*fleet){
		"HTTP/1":   func(f *fleet) { f.asks(false) },
		"HTTP/2":   func(f *fleet) { f.asks(true) },
		"hijacked": func(f *fleet) { f.socket() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 200 // a thousand take 25 s on two busy cores
				if asked("DrainOfAThousand") {
					n = 1000
				}
				perSecond := float64(n) / 10
				stop, cancel := context.WithCancel(t.Context())
				defer cancel()
				f := &fleet{old: newReplica(), successor: newReplica(), stop: stop}
				var clients sync.WaitGroup
				for range n {
					clients.Go(func() { run(f) })
				}
				time.Sleep(5 * time.Second)
				require.Equal(t, n, f.old.l.Stats().Open)
				begin := time.Now()
				err := f.old.l.Drain(t.Context(), perSecond, f.old.end)
				took := time.Since(begin)
				time.Sleep(2 * time.Second)
				moved, most := f.successor.l.Stats().Open, inOneSecond(f.successor.arrived)
				cancel()
				clients.Wait()
				f.old.close(t)
				f.successor.close(t)

				t.Logf("%v, at most %d arrivals in a second", took, most)
				require.NoError(t, err)
				require.Empty(t, f.failed)
				require.Equal(t, n, moved)
				require.GreaterOrEqual(t, took, 9900*time.Millisecond)
				require.LessOrEqual(t, took, 11*time.Second)
				if n == 1000 { // the clients' own time until the next request weighs more with fewer
					require.LessOrEqual(t, most, 120)
				}
			})
		})
	}
}

// inOneSecond is the most that arrived within a second.
func inOneSecond(arrived []time.Duration) (most int) {
	for i, at := range arrived {
		n := 0
		for _, later := range arrived[i:] {
			if later-at < time.Second {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// A connection without requests is closed after its grace, one whose request is under
// way is not, and one that is told during a request ends with it.
func TestHTTPEndOfIdleAndBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newReplica()
		get := func(path string) *bufio.Reader {
			c := connect(t, r.inner)
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: server\r\n\r\n", path)
			return bufio.NewReader(c)
		}
		idle := get("/")
		_, err := http.ReadResponse(idle, nil)
		require.NoError(t, err)
		stuck := connect(t, r.inner) // has never said a word
		busy := get("/stream")
		streaming, err := http.ReadResponse(busy, nil)
		require.NoError(t, err)
		begin := time.Now()
		drained := make(chan error, 1)
		go func() { drained <- r.l.Drain(t.Context(), 1000, r.end) }()
		body, err := io.ReadAll(streaming.Body)
		require.NoError(t, err)
		require.True(t, strings.HasSuffix(string(body), "bye\n"))
		_, err = stuck.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, <-drained)
		require.InDelta(t, time.Second.Seconds(), time.Since(begin).Seconds(), 0.01)
		_, err = idle.ReadByte()
		require.ErrorIs(t, err, io.EOF)
		r.close(t)
	})
}

// A request that takes long is finished, and then its connection ends.
func TestHTTPEndFinishesRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := listenertest.New()
		l := listener.Throttle(inner, listener.Limits{})
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			fmt.Fprint(w, "done")
		})}
		states := make(chan http.ConnState, 10)
		srv.ConnState = func(_ net.Conn, s http.ConnState) { states <- s }
		type key struct{}
		srv.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { return context.WithValue(ctx, key{}, 1) }
		end := listener.HTTPEnd(srv, -1)
		served := make(chan error, 1)
		go func() { served <- srv.Serve(l) }()
		client := &http.Client{Transport: &http.Transport{DialContext: inner.DialContext}}
		defer client.CloseIdleConnections()
		begin := time.Now()
		drained := make(chan error, 1)
		go func() {
			time.Sleep(time.Second)
			drained <- l.Drain(t.Context(), 1, end)
		}()
		resp, err := client.Get("http://server/")
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "done", string(body))
		require.NoError(t, <-drained)
		require.Equal(t, time.Minute, time.Since(begin))
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-served, http.ErrServerClosed)
		synctest.Wait()
		require.Equal(t, http.StateNew, <-states) // the caller's own hook is called
	})
	require.Panics(t, func() { listener.HTTPEnd(nil, 0) })
}
