package bench_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/netutil"
	"golang.org/x/time/rate"

	"github.com/connhygiene/connhygiene/listener"
)

// A livelock is agents that come all at once, wait half a second for an answer, and
// come back; and a server that can do so many logins a second, four at a time.
type livelock struct {
	agents  int
	perSec  int
	horizon time.Duration
}

const (
	workers       = 4
	agentPatience = 500 * time.Millisecond
)

// An end is what a storm must come to, or the experiment shows nothing.
type end int

const (
	unknown end = iota
	allIn
	mostOut
)

// A door is a way to let in no more than the server can do.
type door struct {
	name  string
	limit func(net.Listener, livelock) net.Listener
	login bool // the login takes its time; else the door keeps the rate
	want  end
}

var doors = []door{
	{"a token before Accept", func(l net.Listener, s livelock) net.Listener {
		return &tokens1st{l, rate.NewLimiter(rate.Limit(s.perSec), s.perSec/10)}
	}, false, mostOut},
	{"LimitListener", func(l net.Listener, _ livelock) net.Listener { return netutil.LimitListener(l, workers) }, true, mostOut},
	{"ours, Wait", func(l net.Listener, s livelock) net.Listener {
		return listener.Throttle(l, listener.Limits{Rate: float64(s.perSec), Patience: agentPatience})
	}, false, allIn},
	{"ours, Reset", func(l net.Listener, s livelock) net.Listener {
		return listener.Throttle(l, listener.Limits{Rate: float64(s.perSec), Overflow: listener.Reset})
	}, false, allIn},
	{"ours, MaxPending, Reset", func(l net.Listener, _ livelock) net.Listener {
		return listener.Throttle(l, listener.Limits{MaxPending: 2 * workers, Overflow: listener.Reset})
	}, true, allIn},
	{"ours, MaxPending, Wait", func(l net.Listener, _ livelock) net.Listener {
		return listener.Throttle(l, listener.Limits{MaxPending: 2 * workers, Patience: agentPatience})
	}, true, allIn},
	{"ours, MaxPending, trusting", func(l net.Listener, _ livelock) net.Listener { // for clients that wait longer than the queue is
		return listener.Throttle(l, listener.Limits{MaxPending: 2 * workers})
	}, true, unknown},
}

// tokens1st is what everybody writes.
type tokens1st struct {
	net.Listener
	tokens *rate.Limiter
}

func (l *tokens1st) Accept() (net.Conn, error) {
	_ = l.tokens.Wait(context.Background())
	return l.Listener.Accept()
}

// A run is one storm through one door.
type run struct {
	livelock
	door     door
	l        net.Listener
	busy     chan struct{}
	done     context.Context // until all are in, or the horizon
	all      func()
	in       atomic.Int64
	attempts atomic.Int64
	accepted atomic.Int64
	dead     atomic.Int64 // accepted when their agent had left
	took     time.Duration
}

func (s livelock) through(ctx context.Context, d door) *run {
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	r := &run{livelock: s, door: d, l: d.limit(inner, s), busy: make(chan struct{}, workers)}
	r.done, r.all = context.WithTimeout(ctx, s.horizon)
	defer r.all()
	began := time.Now()
	var server, agents sync.WaitGroup
	server.Go(func() { r.serve(&server) })
	for range s.agents {
		agents.Go(r.agent)
	}
	<-r.done.Done()
	r.took = time.Since(began)
	agents.Wait()
	_ = r.l.Close()
	server.Wait()
	return r
}

func (r *run) serve(handlers *sync.WaitGroup) {
	for {
		c, err := r.l.Accept()
		if err != nil {
			return
		}
		r.accepted.Add(1)
		handlers.Go(func() {
			defer c.Close()
			r.login()
			if r.left(c) {
				r.dead.Add(1)
				return
			}
			if _, err := c.Write([]byte("x")); err == nil {
				listener.Admit(c)
				if !r.door.login {
					<-r.done.Done() // a stream, which stays
				}
			}
		})
	}
}

// login takes what the server can do at a time. With LimitListener it is the whole
// session: that has no word for "logged in".
func (r *run) login() {
	if !r.door.login {
		return
	}
	r.busy <- struct{}{}
	defer func() { <-r.busy }()
	work := time.NewTimer(workers * time.Second / time.Duration(r.perSec))
	<-work.C
}

// left reports whether the agent has hung up: it never sends anything.
func (r *run) left(c net.Conn) bool {
	_ = c.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := c.Read(make([]byte, 1))
	return err == io.EOF
}

func (r *run) agent() {
	delay := 100 * time.Millisecond
	for r.done.Err() == nil {
		r.attempts.Add(1)
		if r.attempt() {
			if r.in.Add(1) == int64(r.agents) {
				r.all()
			}
			return
		}
		wait := time.NewTimer(delay/2 + rand.N(delay/2))
		select {
		case <-wait.C:
		case <-r.done.Done():
		}
		wait.Stop()
		delay = min(2*delay, time.Second)
	}
}

// attempt reports whether the server has answered in time.
func (r *run) attempt() bool {
	ctx, cancel := context.WithTimeout(r.done, agentPatience)
	defer cancel()
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", r.l.Addr().String())
	if err != nil {
		return false
	}
	defer c.Close()
	deadline, _ := ctx.Deadline()
	_ = c.SetReadDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.SetReadDeadline(time.Now()) })
	defer stop()
	_, err = c.Read(make([]byte, 1))
	return err == nil
}

// A limit in front of the kernel's queue: what agents get through, and when. The
// storms run beside each other, since all that they do is wait. Those that would go
// on until the horizon end with the last one that lets everybody in.
func TestLivelock(t *testing.T) {
	s := livelock{agents: 300, perSec: 100, horizon: 25 * time.Second}
	if full() {
		s = livelock{agents: 1000, perSec: 100, horizon: 30 * time.Second}
	}
	runs := s.throughAll(t.Context())
	ideal := time.Duration(s.agents) * time.Second / time.Duration(s.perSec)
	tab := newTable("livelock", "", fmt.Sprintf("agents in, of %d", s.agents), "time / ideal", "attempts per agent", "accepted, but gone")
	for _, r := range runs {
		in, took := int(r.in.Load()), ratio(r.took, ideal)
		if in < s.agents {
			took = "over " + took
		}
		tab.add(r.door.name, in, took, fmt.Sprintf("%.1f", float64(r.attempts.Load())/float64(s.agents)), r.dead.Load())
		switch r.door.want {
		case allIn:
			require.Equal(t, s.agents, in, r.door.name)
		case mostOut:
			require.Less(t, in, s.agents*7/10, r.door.name)
		}
	}
	tab.show(t)
}

func (s livelock) throughAll(ctx context.Context) []*run {
	naive, stop := context.WithCancel(ctx)
	defer stop()
	runs := make([]*run, len(doors))
	var good, others sync.WaitGroup
	for i, d := range doors {
		if d.want == allIn {
			good.Go(func() { runs[i] = s.through(ctx, d) })
		} else {
			others.Go(func() { runs[i] = s.through(naive, d) })
		}
	}
	good.Wait()
	if !full() {
		stop()
	}
	others.Wait()
	return runs
}
