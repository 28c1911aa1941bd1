package listener_test

import (
	"context"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// A flood against the public port while the private one is used: clients that come
// back at once, whatever they are told.
const (
	flooders   = 50
	floodLasts = 5 * time.Second
	loginTakes = 10 * time.Millisecond // what the server asks an upstream for each client
)

// floodArms are ways to limit the public port.
var floodArms = []struct {
	name string
	lim  listener.Limits
}{
	{"MaxPending", listener.Limits{MaxPending: 20}},
	{"Rate", listener.Limits{Rate: 150}},
	{"Reset", listener.Limits{Rate: 150, Overflow: listener.Reset}},
}

// flood keeps the flooders going until ctx ends.
func flood(ctx context.Context, dial func(context.Context) (net.Conn, error)) {
	var all sync.WaitGroup
	for range flooders {
		all.Go(func() {
			for ctx.Err() == nil {
				if c, err := dial(ctx); err == nil {
					end := context.AfterFunc(ctx, func() { _ = c.Close() })
					_, _ = c.Write([]byte("x"))
					_, _ = c.Read(make([]byte, 1))
					end()
					hangUp(c)
				}
			}
		})
	}
	all.Wait()
}

// hangUp leaves no TIME_WAIT, of which a flood would use up the ports.
func hangUp(c net.Conn) {
	if l, ok := c.(interface{ SetLinger(sec int) error }); ok {
		_ = l.SetLinger(0)
	}
	_ = c.Close()
}

// logsIn is a server's loop. It returns the first error of Accept.
func logsIn(l net.Listener) error {
	var handlers sync.WaitGroup
	defer handlers.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		handlers.Go(func() {
			defer c.Close()
			if _, err := io.ReadFull(c, make([]byte, 1)); err == nil {
				<-time.After(loginTakes)
				listener.Admit(c)
				_, _ = c.Write([]byte("x"))
			}
		})
	}
}

// p99 is how long a client of the private port takes to connect, ask, and be answered.
func p99(t *testing.T, lasts time.Duration, dial func(context.Context) (net.Conn, error)) time.Duration {
	t.Helper()
	var all []time.Duration
	for end := time.Now().Add(lasts); len(all) == 0 || time.Now().Before(end); {
		start := time.Now()
		c, err := dial(t.Context())
		require.NoError(t, err)
		require.NoError(t, echo(c, time.Minute))
		all = append(all, time.Since(start))
		hangUp(c)
	}
	slices.Sort(all)
	return all[len(all)*99/100]
}

// On the bubble's clock a flood costs the private port nothing at all.
func TestFloodInMemory(t *testing.T) {
	for _, arm := range floodArms[:2] { // clients that are reset come back in no time, so that time stands still
		synctest.Test(t, func(t *testing.T) {
			private, public := listenertest.New(), listenertest.New()
			limited := listener.Throttle(public, arm.lim)
			l := listener.Merge(private, limited)
			served := make(chan error, 1)
			go func() { served <- logsIn(l) }()

			require.Equal(t, loginTakes, p99(t, 2*time.Second, private.Dial))
			ctx, cancel := context.WithCancel(t.Context())
			flooded := make(chan struct{})
			go func() {
				flood(ctx, public.Dial)
				close(flooded)
			}()
			require.Equal(t, loginTakes, p99(t, 2*time.Second, private.Dial), arm.name)
			require.GreaterOrEqual(t, limited.Stats().Accepted, uint64(300))
			cancel()
			<-flooded
			require.NoError(t, l.Close())
			require.ErrorIs(t, <-served, net.ErrClosed)
			require.Zero(t, limited.Stats().AcceptErrors)
		})
	}
}
