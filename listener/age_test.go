package listener_test

import (
	"io"
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

// Without AgeGrace a connection that was told has 10s, and the default End.
func TestAgeGraceIsTenSeconds(t *testing.T) {
	throttled(t, listener.Limits{MaxAge: time.Hour}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		client := connect(t, inner)
		leaving := listener.Leaving(listener.ConnContext(t.Context(), accept(t, l)))
		<-leaving
		told := time.Now()
		_, err := client.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
		require.Equal(t, 10*time.Second, time.Since(told))
	})
}

// A client that is exempt from the limits is so from MaxAge.
func TestMaxAgeSparesExempt(t *testing.T) {
	lim := listener.Limits{MaxAge: time.Minute, Exempt: func(a net.Addr) bool { return ipOf(a) == "192.0.2.9" }}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		from(t, inner, "192.0.2.9", 9)
		accept(t, l)
		from(t, inner, "192.0.2.1", 9)
		accept(t, l)
		time.Sleep(time.Hour)
		require.Equal(t, uint64(1), l.Stats().Drained)
		require.NoError(t, l.Drain(t.Context(), 1, nil))
		require.Equal(t, uint64(2), l.Stats().Drained, "but not from Drain")
	})
}

func ipOf(a net.Addr) string { return a.(*net.TCPAddr).IP.String() }

// During a Drain its pace and its end are in force, and not those of MaxAge.
func TestMaxAgeDuringDrain(t *testing.T) {
	throttled(t, listener.Limits{MaxAge: time.Minute, AgeGrace: -1}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		for range 3 {
			connect(t, inner)
			accept(t, l)
		}
		begin := time.Now()
		require.NoError(t, l.Drain(t.Context(), 0.001, nil))
		require.Equal(t, 2000*time.Second, time.Since(begin))
	})
}

// Close leaves connections alone, and so does MaxAge from then on.
func TestMaxAgeAfterClose(t *testing.T) {
	throttled(t, listener.Limits{MaxAge: time.Minute}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		c := accept(t, l)
		require.NoError(t, l.Close())
		time.Sleep(time.Hour)
		require.Zero(t, l.Stats().Drained)
		require.Equal(t, 1, l.Stats().Open)
		require.NoError(t, c.Close())
		require.Zero(t, l.Stats().Open)
	})
}

// Each call of End has a goroutine of its own: one that hangs holds no other up.
func TestEndThatHangs(t *testing.T) {
	hang := make(chan struct{})
	called := make(chan struct{}, 9)
	lim := listener.Limits{MaxAge: time.Minute, End: func(net.Conn) { called <- struct{}{}; <-hang }}
	throttled(t, listener.Limits{MaxConns: 9}, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		hang, called = make(chan struct{}), make(chan struct{}, 9)
		for range 3 {
			connect(t, inner)
			accept(t, l)
		}
		time.Sleep(time.Hour)
		l.SetLimits(lim) // all are too old
		synctest.Wait()
		require.Len(t, called, 3)
		close(hang)
	})
}
