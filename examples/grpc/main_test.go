package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/listener"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	fleetSize = 100
	capacity  = 200
	patience  = time.Minute // for a machine that is busy with something else
)

// The server dies under its fleet and comes back, and so does everybody: no agent is
// looked up twice, the provider never has more to do than it can, and the fleet knocks
// no more often than it must.
func TestFleetComesBack(t *testing.T) {
	for name, c := range map[string]struct {
		window int // how many agents it is announced for; 0: none, and no splay, but hints
		end    func(*server) error
		knocks int // at most so many for each agent
	}{
		"killed, hints":  {0, crash, 8},
		"killed, window": {fleetSize, crash, 4},
		"planned":        {fleetSize, func(s *server) error { return s.leave(time.Hour) }, 4},
	} {
		t.Run(name, func(t *testing.T) {
			config := config{public: "127.0.0.1:0", private: "127.0.0.1:0", capacity: capacity, fleet: c.window}
			s, err := start(t.Context(), config)
			require.NoError(t, err)
			config.public = s.listener.Addr().String()
			fleet := newFleet(t, config.public, c.window > 0)
			fleet.wait(t, fleet.ups)
			require.Equal(t, uint64(fleetSize), s.pacer.Stats().Finished)

			require.NoError(t, c.end(s))
			release := reserve(t, config.public)
			fleet.wait(t, fleet.losses)
			release()
			s = restart(t, config)
			up := time.Now()
			fleet.wait(t, fleet.ups)
			t.Logf("all back after %v, bound %v", time.Since(up).Round(time.Millisecond), time.Second*fleetSize/capacity)

			logins, public := s.pacer.Stats(), s.listener.Public.Stats()
			t.Logf("logins %+v, listener %+v", logins, public)
			require.EqualValues(t, fleetSize, s.provider.asked.Load(), "one lookup for each agent")
			require.LessOrEqual(t, s.provider.peak.Load(), int64(providerTurns))
			require.LessOrEqual(t, int(logins.Entered+logins.TurnedAway), c.knocks*fleetSize)
			require.Zero(t, logins.Canceled)
			require.Zero(t, public.PendingExpired, "who has logged in gives its place back")
			require.Eventually(t, func() bool {
				stats := s.listener.Public.Stats() // connections of those who were turned away close in time
				return stats.Pending == 0 && stats.Open == fleetSize
			}, patience, 10*time.Millisecond)

			fleet.stop(t)
			require.NoError(t, s.leave(patience))
		})
	}
}

func crash(s *server) error {
	s.kill()
	return nil
}

// reserve keeps the port while nobody serves there, so that no outgoing connection of
// this machine is given it; where that cannot be done, it hopes.
func reserve(t *testing.T, address string) (release func()) {
	t.Helper()
	var guard *listener.Gate
	var err error
	require.Eventually(t, func() bool {
		guard, err = listener.Reserve(t.Context(), "tcp", address)
		return err == nil || errors.Is(err, errors.ErrUnsupported)
	}, patience, time.Millisecond)
	if err != nil {
		return func() {}
	}
	return func() { require.NoError(t, guard.Close()) }
}

func restart(t *testing.T, c config) *server {
	t.Helper()
	var s *server
	require.Eventually(t, func() bool {
		var err error
		s, err = start(t.Context(), c)
		return err == nil
	}, patience, time.Millisecond)
	return s
}

// A fleet is many agents.
type fleet struct {
	ups, losses chan int // agents that have logged in, and that wait for their first attempt after a loss
	cancel      context.CancelFunc
	ended       sync.WaitGroup
	errs        chan error
}

func newFleet(t *testing.T, address string, splay bool) *fleet {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fleet{cancel: cancel, errs: make(chan error, fleetSize)}
	f.ups, f.losses = make(chan int, 10*fleetSize), make(chan int, 10*fleetSize)
	for i := range fleetSize {
		a := newAgent(address, fmt.Sprintf("token of agent %d", i))
		a.backoff.StableAfter = time.Nanosecond // as if the fleet had been up for long
		if !splay {
			a.backoff.Splay = 0
		}
		wasUp := false // both callbacks come on the goroutine of run
		a.onUp = func() { wasUp = true; f.ups <- i }
		a.backoff.OnWait = func(backoff.Event) {
			if wasUp {
				f.losses <- i
			}
			wasUp = false
		}
		f.ended.Go(func() { f.errs <- a.run(ctx) })
	}
	t.Cleanup(func() { cancel(); f.ended.Wait() })
	return f
}

// wait waits until every agent has been seen.
func (f *fleet) wait(t *testing.T, seen <-chan int) {
	t.Helper()
	deadline := time.After(patience)
	missing := map[int]bool{}
	for i := range fleetSize {
		missing[i] = true
	}
	for len(missing) > 0 {
		select {
		case i := <-seen:
			delete(missing, i)
		case <-deadline:
			t.Fatalf("%d of %d agents are missing", len(missing), fleetSize)
		}
	}
}

func (f *fleet) stop(t *testing.T) {
	t.Helper()
	f.cancel()
	f.ended.Wait()
	for range fleetSize {
		require.ErrorIs(t, <-f.errs, context.Canceled)
	}
}

// An agent that is turned away hears when to come back, and does.
func TestTurnedAway(t *testing.T) {
	s, err := start(t.Context(), config{public: "127.0.0.1:0", private: "127.0.0.1:0", capacity: capacity})
	require.NoError(t, err)
	defer s.kill()
	var slots []*backoff.Slot
	for range s.pacer.MaxPending {
		slot, err := s.pacer.Enter()
		require.NoError(t, err)
		slots = append(slots, slot)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a := newAgent(s.listener.Addr().String(), "token of agent 1")
	var heard []bool
	a.backoff.OnWait = func(e backoff.Event) {
		heard = append(heard, e.Hinted)
		for _, slot := range slots {
			slot.Done()
		}
	}
	a.onUp = cancel
	require.ErrorIs(t, a.run(ctx), context.Canceled)
	require.NotEmpty(t, heard)
	require.True(t, heard[0])
	require.Equal(t, uint64(1), s.pacer.Stats().TurnedAway)
}

// A token that is refused stops its agent, and a second one with it costs no lookup.
func TestBadToken(t *testing.T) {
	s, err := start(t.Context(), config{public: "127.0.0.1:0", private: "127.0.0.1:0", capacity: capacity})
	require.NoError(t, err)
	defer s.kill()
	for range 2 {
		err := newAgent(s.listener.Addr().String(), "stolen").run(t.Context())
		require.ErrorIs(t, err, backoff.ErrPermanent)
		require.Equal(t, codes.Unauthenticated, status.Code(err))
	}
	require.EqualValues(t, 1, s.provider.asked.Load())
}

// An address that is taken is an error, and nothing stays behind.
func TestStartFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, err = start(t.Context(), config{public: l.Addr().String(), private: "127.0.0.1:0"})
	require.ErrorContains(t, err, l.Addr().String())

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = start(ctx, config{public: "127.0.0.1:0", private: "127.0.0.1:0"})
	require.Error(t, err)
}

// The two programs find each other, and end when they are told to.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := play(t, ctx, "server", "-public", "127.0.0.1:0", "-private", "127.0.0.1:0", "-agents", "3")
	address := server.next(t, `msg=open public=(\S+)`)
	crew := play(t, ctx, "agents", "-agents", "3", "-server", address)
	for range 3 {
		crew.next(t, `msg=(up) agent=`)
	}
	cancel()
	server.next(t, `msg="(leaving)`)
	for range 3 {
		crew.next(t, `msg=(stopped) agent=`)
	}
	require.NoError(t, <-server.ended)
	require.NoError(t, <-crew.ended)
}

func TestRunRefuses(t *testing.T) {
	for want, args := range map[string][]string{
		"want server or agents":  nil,
		`not "both"`:             {"both"},
		"-capacity is 0":         {"server", "-capacity", "0"},
		"-agents is -1":          {"agents", "-agents", "-1"},
		`argument "please"`:      {"server", "please"},
		"provided but not defin": {"server", "-nonsense"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, exitStatus(run(t.Context(), args, io.Discard), &stderr))
		require.Contains(t, stderr.String(), want)
		require.Equal(t, 1, strings.Count(stderr.String(), "\n"))
	}
	for _, args := range [][]string{{"-h"}, {"server", "-h"}} {
		var help, stderr bytes.Buffer
		require.Zero(t, exitStatus(run(t.Context(), args, &help), &stderr))
		require.Contains(t, help.String(), "-capacity")
		require.Empty(t, stderr.String())
	}
}

// A part is a program that is being run.
type part struct {
	lines *bufio.Scanner
	ended chan error
}

func play(t *testing.T, ctx context.Context, args ...string) *part {
	t.Helper()
	read, write := io.Pipe()
	p := &part{lines: bufio.NewScanner(read), ended: make(chan error, 1)}
	go func() {
		p.ended <- run(ctx, args, write)
		_ = write.Close()
	}()
	return p
}

// next returns what the pattern's group matches in the next line that it matches.
func (p *part) next(t *testing.T, pattern string) string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	for p.lines.Scan() {
		if m := want.FindStringSubmatch(p.lines.Text()); m != nil {
			return m[1]
		}
	}
	t.Fatalf("no line matches %s: %v", pattern, p.lines.Err())
	return ""
}
