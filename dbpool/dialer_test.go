package dbpool_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool"
)

// host is a server in memory that sends back what it gets, unless it is slow, or a
// connection has fallen silent. To "!" there is no answer.
type host struct {
	mu     sync.Mutex // guards the fields below
	dials  int
	slow   time.Duration
	silent map[net.Conn]bool
	all    []net.Conn
}

func (h *host) dial(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dials++
	h.all = append(h.all, server)
	go func() {
		defer server.Close()
		var b [1]byte
		for {
			if _, err := server.Read(b[:]); err != nil {
				return
			}
			h.mu.Lock()
			slow, silent := h.slow, h.silent[server]
			h.mu.Unlock()
			if silent || b[0] == '!' {
				continue
			}
			time.Sleep(slow)
			_ = server.SetWriteDeadline(time.Now().Add(time.Minute))
			if _, err := server.Write(b[:]); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
				return
			}
		}
	}()
	return client, nil
}

// vanish silences the connections there are.
func (h *host) vanish() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.silent = make(map[net.Conn]bool)
	for _, c := range h.all {
		h.silent[c] = true
	}
}

func (h *host) setSlow(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slow = d
}

// ask is one request with a deadline, as a driver makes it.
func ask(c net.Conn, deadline time.Duration) error {
	_ = c.SetDeadline(time.Now().Add(deadline)) // fails if it is closed, as Write does
	if _, err := c.Write([]byte("?")); err != nil {
		return err
	}
	_, err := io.ReadFull(c, make([]byte, 1))
	return err
}

type dialFunc = func(context.Context, string, string) (net.Conn, error)

// asked returns n connections over each of which there was an answer.
func asked(t *testing.T, dial dialFunc, addr string, n int) []net.Conn {
	t.Helper()
	conns := make([]net.Conn, n)
	for i := range conns {
		c, err := dial(t.Context(), "tcp", addr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		require.NoError(t, ask(c, time.Minute))
		conns[i] = c
	}
	return conns
}

// Of sixteen connections that fell silent together one costs a request, whether its
// driver sees the deadline in a read or closes the connection.
func TestSilenceOfOneIsNewsOfAll(t *testing.T) {
	give := map[string]func(c net.Conn, deadline time.Duration){
		"read ends by its deadline": func(c net.Conn, deadline time.Duration) {
			require.ErrorIs(t, ask(c, deadline), os.ErrDeadlineExceeded)
		},
		"driver closes": func(c net.Conn, deadline time.Duration) {
			require.NoError(t, c.SetDeadline(time.Time{}))
			_, err := c.Write([]byte("?"))
			require.NoError(t, err)
			time.AfterFunc(deadline, func() { require.NoError(t, c.Close()) })
			_, err = c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.ErrClosedPipe)
		},
	}
	for name, up := range give {
		for _, deadline := range []time.Duration{200 * time.Millisecond, 3 * time.Second, time.Hour} {
			synctest.Test(t, func(t *testing.T) {
				one, other := new(host), new(host)
				dial := dbpool.TCP{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					return map[string]*host{"one": one, "other": other}[addr].dial(ctx, network, addr)
				}}.Dialer()
				conns, elsewhere := asked(t, dial, "one", 16), asked(t, dial, "other", 1)
				login, err := dial(t.Context(), "tcp", "one") // nothing was asked yet
				require.NoError(t, err)
				defer login.Close()
				one.vanish()
				time.Sleep(time.Minute)
				up(conns[15], deadline)
				for _, c := range conns[:15] {
					from := time.Now()
					n, err := c.Write([]byte("?"))
					require.ErrorIs(t, err, net.ErrClosed, "%s after %v", name, deadline)
					require.Zero(t, n, "nothing was sent: the driver may try again")
					require.Zero(t, time.Since(from))
					require.NoError(t, c.Close())
				}
				require.NoError(t, ask(elsewhere[0], time.Second), "other addresses are left alone")
				_, err = login.Write([]byte("?"))
				require.NoError(t, err, "one that was never used has not been silent")
				require.NoError(t, ask(asked(t, dial, "one", 1)[0], time.Second))
			})
		}
	}
}

// A connection that is in use ends by its own deadline.
func TestSilenceDropsNoConnectionInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		conns := asked(t, dbpool.TCP{Dial: h.dial}.Dialer(), "db", 3)
		h.setSlow(10 * time.Second)
		busy := make(chan error, 1)
		go func() { busy <- ask(conns[0], time.Minute) }()
		require.ErrorIs(t, ask(conns[1], 3*time.Second), os.ErrDeadlineExceeded)
		require.ErrorIs(t, ask(conns[2], time.Second), net.ErrClosed)
		require.NoError(t, <-busy)
	})
}

// A slow server answers late, and is not dead: what it has answered on any connection
// since the request was sent says so.
func TestSlowIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		conns := asked(t, dbpool.TCP{Dial: h.dial}.Dialer(), "db", 64)
		h.setSlow(10 * time.Second)
		for range 20 {
			var wg sync.WaitGroup
			wg.Go(func() { require.NoError(t, ask(conns[0], time.Minute)) })
			time.Sleep(8 * time.Second)
			for _, c := range conns[1:4] { // their deadlines end after the answer to the first
				wg.Go(func() { require.ErrorIs(t, ask(c, 3*time.Second), os.ErrDeadlineExceeded) })
			}
			wg.Wait()
			time.Sleep(20 * time.Second)
			for _, c := range conns[1:4] { // the late answer
				require.NoError(t, c.SetReadDeadline(time.Now().Add(time.Minute)))
				_, err := c.Read(make([]byte, 8))
				require.NoError(t, err)
			}
		}
		h.setSlow(0)
		for _, c := range conns {
			require.NoError(t, ask(c, time.Second), "none was lost")
		}
		require.Equal(t, 64, h.dials)
	})
}

// An hour of ordinary traffic, with a time-out in a hundred requests, costs no dial but
// that of the connections that timed out.
func TestNoFalseAlarmInAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		dial := dbpool.TCP{Dial: h.dial}.Dialer()
		const workers, idle = 8, 16
		spare := asked(t, dial, "db", idle)
		from := time.Now()
		var timeouts, extra int
		var mu sync.Mutex
		var wg sync.WaitGroup
		for worker := range workers {
			wg.Go(func() {
				c, err := dial(t.Context(), "tcp", "db")
				require.NoError(t, err)
				for i := 1; time.Since(from) < time.Hour; i++ {
					if i%100 == 10*worker { // sent, and given up
						_ = c.SetDeadline(time.Time{})
						_, err = c.Write([]byte("!"))
						require.NoError(t, err)
						time.AfterFunc(3*time.Second, func() { require.NoError(t, c.Close()) })
						_, err = c.Read(make([]byte, 1))
						require.ErrorIs(t, err, io.ErrClosedPipe)
						c, err = dial(t.Context(), "tcp", "db")
						require.NoError(t, err)
						mu.Lock()
						timeouts++
						mu.Unlock()
					}
					if ask(c, time.Second) != nil {
						mu.Lock()
						extra++
						mu.Unlock()
					}
					time.Sleep(600 * time.Millisecond)
				}
				require.NoError(t, c.Close())
			})
		}
		wg.Wait()
		require.Greater(t, timeouts, 100)
		require.Zero(t, extra)
		require.Equal(t, idle+workers+timeouts, h.dials)
		for _, c := range spare {
			require.NoError(t, ask(c, time.Second))
		}
	})
}

// Several short deadlines count like one long one; a single one may be a lost packet.
func TestShortDeadlinesAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		conns := asked(t, dbpool.TCP{Dial: h.dial}.Dialer(), "db", 16)
		h.vanish()
		require.ErrorIs(t, ask(conns[0], 100*time.Millisecond), os.ErrDeadlineExceeded)
		require.ErrorIs(t, ask(conns[1], 100*time.Millisecond), os.ErrDeadlineExceeded, "the first says too little")
		require.ErrorIs(t, ask(conns[2], time.Second), net.ErrClosed)
	})
}

// A host that answers and falls silent, again and again, costs one redial a second.
func TestSilenceDropsAtMostOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		dial := dbpool.TCP{Dial: h.dial}.Dialer()
		dropped := 0
		from := time.Now()
		for time.Since(from) < 10*time.Second {
			conns := asked(t, dial, "db", 2)
			h.vanish()
			require.ErrorIs(t, ask(conns[0], 300*time.Millisecond), os.ErrDeadlineExceeded)
			if errors.Is(ask(conns[1], 10*time.Millisecond), net.ErrClosed) {
				dropped++
			}
			_ = conns[1].Close()
		}
		require.GreaterOrEqual(t, dropped, 8)
		require.LessOrEqual(t, dropped, 10)
	})
}

// What is written without a look for an answer is no request: a driver says farewell
// before it closes a connection, as pools do in a quiet time, and MySQL's closes
// statements, after which the connection is idle as any other.
func TestFarewellIsNoRequest(t *testing.T) {
	for name, last := range map[string]string{"after an answer": "", "after a command that has none": "!"} {
		synctest.Test(t, func(t *testing.T) {
			h := new(host)
			conns := asked(t, dbpool.TCP{Dial: h.dial}.Dialer(), "db", 16)
			send := func(c net.Conn, what string) {
				require.NoError(t, c.SetDeadline(time.Time{}))
				_, err := c.Write([]byte(what))
				require.NoError(t, err)
			}
			for _, c := range conns {
				send(c, last)
			}
			time.Sleep(time.Minute)
			for _, c := range conns[12:] {
				send(c, "!")
				require.NoError(t, c.Close())
				time.Sleep(time.Second)
			}
			for _, c := range conns[:12] {
				require.NoError(t, ask(c, time.Second), name)
				send(c, last)
			}
			time.Sleep(time.Minute)
			h.vanish()
			require.ErrorIs(t, ask(conns[0], 3*time.Second), os.ErrDeadlineExceeded)
			for _, c := range conns[1:12] {
				require.ErrorIs(t, ask(c, time.Second), net.ErrClosed, name)
			}
		})
	}
}

// A deadline of a read that answers nothing is no news: drivers look whether a
// connection lives in this way, and listeners wait so.
func TestWaitingIsNotAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		conns := asked(t, dbpool.TCP{Dial: h.dial}.Dialer(), "db", 2)
		require.NoError(t, conns[0].SetReadDeadline(time.Now().Add(time.Hour)))
		_, err := conns[0].Read(make([]byte, 1))
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.NoError(t, ask(conns[1], time.Second))
		require.NoError(t, conns[0].Close())
		require.NoError(t, conns[0].Close())
		require.NoError(t, ask(conns[1], time.Second))
	})
}

// A login that times out says nothing about connections that are open.
func TestSilentLoginIsNoNews(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(host)
		dial := dbpool.TCP{Dial: h.dial}.Dialer()
		conns := asked(t, dial, "db", 1)
		h.setSlow(10 * time.Second)
		login, err := dial(t.Context(), "tcp", "db")
		require.NoError(t, err)
		require.ErrorIs(t, ask(login, 3*time.Second), os.ErrDeadlineExceeded)
		require.NoError(t, login.Close())
		h.setSlow(0)
		require.NoError(t, ask(conns[0], time.Second))
		time.Sleep(time.Minute)
	})
}

func TestDialThatReturnsNothing(t *testing.T) {
	dial := dbpool.TCP{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, nil }}.Dialer()
	_, err := dial(t.Context(), "tcp", "db")
	require.EqualError(t, err, "dbpool: TCP.Dial returned neither a connection nor an error")
}

// Over a real socket: what is set, and what can be reached.
func TestDialerOverTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	for name, dial := range map[string]dialFunc{
		"zero": dbpool.Dialer(),
		"set":  dbpool.TCP{KeepAliveIdle: time.Second, KeepAliveInterval: 2 * time.Second, KeepAliveCount: 4, UserTimeout: 5 * time.Second}.Dialer(),
		"off":  dbpool.TCP{KeepAliveIdle: -1, KeepAliveInterval: -1, KeepAliveCount: -1, UserTimeout: -1}.Dialer(),
	} {
		c, err := dial(t.Context(), "tcp", l.Addr().String())
		require.NoError(t, err)
		require.IsType(t, &net.TCPConn{}, c.(interface{ NetConn() net.Conn }).NetConn())
		raw, err := c.(syscall.Conn).SyscallConn()
		require.NoError(t, err)
		want := map[string][5]int{"zero": {1, 15, 5, 3, 30_000}, "set": {1, 1, 2, 4, 5000}}[name]
		checkOptions(t, raw, want)
		require.NoError(t, c.Close())
	}
	_, err = dbpool.Dialer()(t.Context(), "tcp", "127.0.0.1:1")
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = dbpool.Dialer()(ctx, "tcp", l.Addr().String())
	require.ErrorIs(t, err, context.Canceled)

	inMemory, err := dbpool.TCP{Dial: new(host).dial}.Dialer()(t.Context(), "tcp", "db")
	require.NoError(t, err)
	_, ok := inMemory.(syscall.Conn)
	require.False(t, ok, "no socket below, and none is claimed: MySQL's driver asks")
	require.NoError(t, inMemory.Close())
}
