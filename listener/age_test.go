package listener_test

import (
	"net"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// SetLimits turns MaxAge on, off and to another length, for the connections that are there.
func TestSetLimitsOfMaxAge(t *testing.T) {
	const never = 1000 * time.Hour
	ends := make(chan time.Time, 9)
	limits := func(age time.Duration) listener.Limits {
		return listener.Limits{MaxConns: 9, MaxAge: age, AgeGrace: -1, End: func(net.Conn) { ends <- time.Now() }}
	}
	for name, before := range map[string]time.Duration{"off": 0, "longer": never} {
		t.Run(name, func(t *testing.T) {
			throttled(t, limits(before), func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				ends = make(chan time.Time, 9)
				connect(t, inner)
				accept(t, l)
				for range 3 {
					l.SetLimits(limits(time.Minute))
					l.SetLimits(limits(before))
				}
				time.Sleep(time.Hour)
				require.Empty(t, ends, "it is off")
				on := time.Now()
				l.SetLimits(limits(time.Minute))
				require.WithinRange(t, <-ends, on, on.Add(time.Second), "an hour old")
				connect(t, inner)
				accept(t, l)
				came := time.Now()
				require.WithinRange(t, <-ends, came.Add(30*time.Second), came.Add(time.Minute+time.Second))
			})
		})
	}
}

// A controller that sets limits often does not put MaxAge off.
func TestSetLimitsOftenKeepsMaxAge(t *testing.T) {
	for name, other := range map[string]time.Duration{"the same": 0, "another": time.Second} {
		t.Run(name, func(t *testing.T) {
			const age = time.Hour
			throttled(t, listener.Limits{MaxAge: age}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				connect(t, inner)
				accept(t, l)
				for i := range 3600 + 10 {
					time.Sleep(time.Second)
					l.SetLimits(listener.Limits{MaxAge: age + time.Duration(i%2)*other})
				}
				require.Equal(t, uint64(1), l.Stats().Drained)
			})
		})
	}
}

// Drain ends also the connections that MaxAge has told before, which have not left.
func TestDrainEndsWhatIsTooOld(t *testing.T) {
	for name, end := range map[string]func(net.Conn){"nil": nil, "end": func(c net.Conn) { _ = c.Close() }} {
		t.Run(name, func(t *testing.T) {
			lim := listener.Limits{MaxAge: time.Minute, AgeGrace: -1}
			throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
				connect(t, inner)
				accept(t, l)
				time.Sleep(time.Hour)
				require.Equal(t, uint64(1), l.Stats().Drained)
				begin := time.Now()
				drained := make(chan error, 1)
				go func() { drained <- l.Drain(t.Context(), 1, end) }()
				synctest.Wait()
				require.Len(t, drained, 1)
				require.NoError(t, <-drained)
				require.Zero(t, time.Since(begin))
				require.Equal(t, uint64(1), l.Stats().Drained, "told once")
			})
		})
	}
}
