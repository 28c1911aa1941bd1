package listener_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/time/rate"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// The storm that a rate limit has to survive: agents that all come at once, wait
// for an answer as long as their patience lasts, and come back.
const (
	agents   = 1500
	perSec   = 150
	patience = time.Second
	horizon  = 25 * time.Second
	ideal    = agents * time.Second / perSec
)

// An arm is a way to limit. Its login is what a connection costs the server.
type arm struct {
	name  string
	limit func(net.Listener) net.Listener
	login func()
}

// naive is what everybody writes: a token before each Accept.
type naive struct {
	net.Listener
	tokens *rate.Limiter
	ctx    context.Context
}

func (n *naive) Accept() (net.Conn, error) {
	if err := n.tokens.Wait(n.ctx); err != nil {
		return nil, net.ErrClosed
	}
	return n.Listener.Accept()
}

// arms are new for each use: what waits in a bubble belongs to it.
func arms(ctx context.Context) []arm {
	throttle := func(lim listener.Limits) func(net.Listener) net.Listener {
		return func(l net.Listener) net.Listener { return listener.Throttle(l, lim) }
	}
	const workers = 15
	busy := make(chan struct{}, workers)
	return []arm{
		{"naive", func(l net.Listener) net.Listener {
			return &naive{l, rate.NewLimiter(perSec, perSec/10), ctx}
		}, func() {}},
		{"Wait", throttle(listener.Limits{Rate: perSec, Patience: patience}), func() {}},
		{"Reset", throttle(listener.Limits{Rate: perSec, Overflow: listener.Reset}), func() {}},
		{"MaxPending", throttle(listener.Limits{MaxPending: 2 * workers}), func() {
			busy <- struct{}{}
			time.Sleep(workers * time.Second / perSec) // the upstream's time, not a test's
			<-busy
		}},
	}
}

// outcome is what has become of a storm.
type outcome struct {
	connected atomic.Int64
	attempts  atomic.Int64
	took      time.Duration // until all were connected, or the horizon
	all       func()        // ends the storm
}

func (a arm) storm(t *testing.T, inner net.Listener, dial func(context.Context) (net.Conn, error)) *outcome {
	t.Helper()
	l := a.limit(inner)
	ctx, cancel := context.WithTimeout(t.Context(), horizon)
	defer cancel()
	var server, clients sync.WaitGroup
	server.Go(func() { a.serve(ctx, l, &server) })
	o := outcome{all: cancel}
	start := time.Now()
	for range agents {
		clients.Go(func() { o.agent(ctx, dial) })
	}
	<-ctx.Done()
	o.took = time.Since(start)
	clients.Wait()
	require.NoError(t, l.Close())
	server.Wait()
	return &o
}

func (a arm) serve(ctx context.Context, l net.Listener, handlers *sync.WaitGroup) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		handlers.Go(func() {
			defer c.Close()
			a.login()
			if _, err := c.Write([]byte("x")); err == nil {
				listener.Admit(c)
				<-ctx.Done() // a stream, which stays
			}
		})
	}
}

// agent comes back until it is connected: delays of 0.2 to 2 s, doubling, half
// of each random.
func (o *outcome) agent(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	delay := 200 * time.Millisecond
	for ctx.Err() == nil {
		o.attempts.Add(1)
		if c := attempt(ctx, dial); c != nil {
			if o.connected.Add(1) == agents {
				o.all()
			}
			<-ctx.Done()
			_ = c.Close()
			return
		}
		wait := time.NewTimer(delay/2 + rand.N(delay/2))
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
		delay = min(2*delay, 2*time.Second)
	}
}

// attempt returns a connection that the server has answered on, or nil.
func attempt(ctx context.Context, dial func(context.Context) (net.Conn, error)) net.Conn {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := dial(ctx)
	if err != nil {
		return nil
	}
	end, _ := ctx.Deadline()
	_ = c.SetDeadline(end)
	if _, err = io.ReadFull(c, make([]byte, 1)); err != nil {
		_ = c.Close()
		return nil
	}
	return c
}

func report(t *testing.T, all []arm, outcomes []*outcome) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d agents, %v patience, %d/s, ideal %v\n", agents, patience, perSec, ideal)
	fmt.Fprintf(&b, "%-12s %10s %8s %8s %9s\n", "limit", "connected", "time", "x ideal", "attempts")
	for i, o := range outcomes {
		fmt.Fprintf(&b, "%-12s %10d %7.1fs %8.2f %9d\n", all[i].name, o.connected.Load(), o.took.Seconds(),
			o.took.Seconds()/ideal.Seconds(), o.attempts.Load())
	}
	t.Log(b.String())
}

func judge(t *testing.T, outcomes []*outcome) {
	t.Helper()
	naive, wait, reset := outcomes[0], outcomes[1], outcomes[2]
	require.Less(t, naive.connected.Load(), int64(agents*40/100))
	for _, o := range outcomes[1:] {
		require.EqualValues(t, agents, o.connected.Load())
	}
	require.LessOrEqual(t, wait.took, ideal*16/10)
	require.LessOrEqual(t, reset.took, ideal*14/10)
}

// On the bubble's clock, where the machine does not matter.
func TestLivelockInMemory(t *testing.T) {
	var all []arm
	var outcomes []*outcome
	for i := range arms(t.Context()) {
		synctest.Test(t, func(t *testing.T) {
			a := arms(t.Context())[i]
			l := listenertest.New()
			all = append(all, a)
			outcomes = append(outcomes, a.storm(t, l, l.Dial))
		})
	}
	report(t, all, outcomes)
	judge(t, outcomes)
}

// On loopback, in real time, which takes a minute: only when asked for by
// go test -run Livelock.
func TestLivelock(t *testing.T) {
	if !asked("Livelock") {
		t.Skip("takes long: go test -run Livelock -v")
	}
	all := arms(t.Context())
	var outcomes []*outcome
	for _, a := range all {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var d net.Dialer
		outcomes = append(outcomes, a.storm(t, l, func(ctx context.Context) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", l.Addr().String())
		}))
	}
	report(t, all, outcomes)
	judge(t, outcomes)
}
