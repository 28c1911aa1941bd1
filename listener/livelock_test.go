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

// A storm is what a limit has to survive: agents that all come at once, wait for an
// answer as long as their patience lasts, and come back.
type storm struct {
	agents   int
	workers  int // log one in each at a time
	perSec   int // all of them together
	patience time.Duration
	horizon  time.Duration
}

var (
	// Of issue 4's table: logins take a fifth of the agents' patience.
	usual = storm{agents: 1500, workers: 15, perSec: 150, patience: time.Second, horizon: 25 * time.Second}
	// Logins take a sixth of it with all places taken, and the agents come back sooner.
	impatient = storm{agents: 1000, workers: 4, perSec: 100, patience: 500 * time.Millisecond, horizon: 20 * time.Second}
)

// part is an n-th of the storm: as many times less of all, at a server that is as
// many times slower, so that everything takes as long.
func (s storm) part(n int) storm {
	s.agents, s.workers, s.perSec = s.agents/n, s.workers/n, s.perSec/n
	return s
}

func (s storm) ideal() time.Duration {
	return time.Duration(s.agents) * time.Second / time.Duration(s.perSec)
}

// An arm is a way to limit. Its login is what a connection costs the server.
type arm struct {
	storm
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

func (s storm) throttle(name string, lim listener.Limits, login func()) arm {
	return arm{s, name, func(l net.Listener) net.Listener { return listener.Throttle(l, lim) }, login}
}

// arms of the table, new for each use: what waits in a bubble belongs to it.
func (s storm) arms(ctx context.Context) []arm {
	return []arm{
		{s, "naive", func(l net.Listener) net.Listener {
			return &naive{l, rate.NewLimiter(rate.Limit(s.perSec), s.perSec/10), ctx}
		}, func() {}},
		s.throttle("Wait", listener.Limits{Rate: float64(s.perSec), Patience: s.patience}, func() {}),
		s.throttle("Reset", listener.Limits{Rate: float64(s.perSec), Overflow: listener.Reset}, func() {}),
		s.throttle("MaxPending", listener.Limits{MaxPending: 2 * s.workers, Patience: s.patience}, s.upstream()),
	}
}

// patienceArms are MaxPending without and with a word about the agents' patience.
func (s storm) patienceArms(context.Context) []arm {
	lim := listener.Limits{MaxPending: 2 * s.workers}
	trusting := s.throttle("trusting", lim, s.upstream())
	lim.Patience = s.patience
	return []arm{trusting, s.throttle("Patience", lim, s.upstream())}
}

// upstream returns a login that waits for a worker and then its time, which is the
// upstream's and not a test's.
func (s storm) upstream() func() {
	busy := make(chan struct{}, s.workers)
	return func() {
		busy <- struct{}{}
		defer func() { <-busy }()
		time.Sleep(time.Duration(s.workers) * time.Second / time.Duration(s.perSec))
	}
}

// outcome is what has become of a storm.
type outcome struct {
	arm
	connected atomic.Int64
	attempts  atomic.Int64
	took      time.Duration // until all were connected, or the horizon
	all       func()        // ends the storm
}

func (a arm) run(t *testing.T, inner net.Listener, dial func(context.Context) (net.Conn, error)) *outcome {
	t.Helper()
	l := a.limit(inner)
	ctx, cancel := context.WithTimeout(t.Context(), a.horizon)
	defer cancel()
	var server, clients sync.WaitGroup
	server.Go(func() { a.serve(ctx, l, &server) })
	o := outcome{arm: a, all: cancel}
	start := time.Now()
	for range a.agents {
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

// agent comes back until it is connected: delays of a fifth of its patience to
// twice that, doubling, half of each random.
func (o *outcome) agent(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	delay := o.patience / 5
	for ctx.Err() == nil {
		o.attempts.Add(1)
		if c := o.attempt(ctx, dial); c != nil {
			if o.connected.Add(1) == int64(o.agents) {
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
		delay = min(2*delay, 2*o.patience)
	}
}

// attempt returns a connection that the server has answered on, or nil.
func (o *outcome) attempt(ctx context.Context, dial func(context.Context) (net.Conn, error)) net.Conn {
	ctx, cancel := context.WithTimeout(ctx, o.patience)
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

func (o *outcome) ratio() float64 { return o.took.Seconds() / o.ideal().Seconds() }

func (s storm) report(t *testing.T, outcomes []*outcome) {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "\n%d agents, %v patience, %d/s, ideal %v\n", s.agents, s.patience, s.perSec, s.ideal())
	fmt.Fprintf(&b, "%-12s %10s %8s %8s %9s\n", "limit", "connected", "time", "x ideal", "attempts")
	for _, o := range outcomes {
		fmt.Fprintf(&b, "%-12s %10d %7.1fs %8.2f %9d\n", o.name, o.connected.Load(), o.took.Seconds(), o.ratio(), o.attempts.Load())
	}
	t.Log(b.String())
}

// inMemory runs arms on the bubble's clock, where the machine does not matter.
func (s storm) inMemory(t *testing.T, arms func(context.Context) []arm) []*outcome {
	t.Helper()
	var outcomes []*outcome
	for i := range arms(t.Context()) {
		synctest.Test(t, func(t *testing.T) {
			l := listenertest.New()
			outcomes = append(outcomes, arms(t.Context())[i].run(t, l, l.Dial))
		})
	}
	s.report(t, outcomes)
	return outcomes
}

// onLoopback runs arms in real time, which takes a minute: only when asked for by
// go test -run Livelock.
func (s storm) onLoopback(t *testing.T, arms func(context.Context) []arm) []*outcome {
	t.Helper()
	if !asked("Livelock") {
		t.Skip("takes long: go test -run Livelock -v")
	}
	var outcomes []*outcome
	for _, a := range arms(t.Context()) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		var d net.Dialer
		outcomes = append(outcomes, a.run(t, l, func(ctx context.Context) (net.Conn, error) {
			return d.DialContext(ctx, "tcp", l.Addr().String())
		}))
	}
	s.report(t, outcomes)
	return outcomes
}

// judge requires that ours let everybody in, and naive few. In real time a busy
// machine costs time, which the horizon bounds; in a bubble, or with
// CONNHYGIENE_STRICT=1, the bounds are tight.
func judge(t *testing.T, outcomes []*outcome, tight bool) {
	t.Helper()
	naive, wait, reset := outcomes[0], outcomes[1], outcomes[2]
	require.Less(t, naive.connected.Load(), int64(naive.agents*40/100))
	for _, o := range outcomes[1:] {
		require.EqualValues(t, o.agents, o.connected.Load(), o.name)
	}
	if tight {
		require.LessOrEqual(t, wait.ratio(), 1.6)
		require.LessOrEqual(t, reset.ratio(), 1.4)
	}
}

func TestLivelockInMemory(t *testing.T) {
	s := usual.part(3)
	judge(t, s.inMemory(t, s.arms), true)
}

func TestLivelock(t *testing.T) {
	judge(t, usual.onLoopback(t, usual.arms), strict())
}

// judgePatience requires that agents get in of whose patience the limits know, and
// that the storm is one in which few do otherwise.
func judgePatience(t *testing.T, outcomes []*outcome, tight bool) {
	t.Helper()
	trusting, told := outcomes[0], outcomes[1]
	require.Less(t, trusting.connected.Load(), int64(trusting.agents))
	require.EqualValues(t, told.agents, told.connected.Load())
	if tight {
		require.LessOrEqual(t, told.ratio(), 1.4)
	}
}

func TestLivelockOfMaxPendingInMemory(t *testing.T) {
	s := impatient.part(2)
	judgePatience(t, s.inMemory(t, s.patienceArms), true)
}

func TestLivelockOfMaxPending(t *testing.T) {
	judgePatience(t, impatient.onLoopback(t, impatient.patienceArms), strict())
}
