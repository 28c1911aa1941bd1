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

// Whoever would leave while it logs in makes room for one that would not.
func TestPatienceSkipsWhoIsAboutToLeave(t *testing.T) {
	for name, lim := range map[string]listener.Limits{
		"pending": {MaxPending: 1, PendingTimeout: -1, Patience: 2 * time.Second},
		"conns":   {MaxConns: 1, Patience: 2 * time.Second},
	} {
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			connect(t, inner)
			first := accept(t, l)
			late := connect(t, inner)
			time.Sleep(time.Millisecond)
			justInTime := connect(t, inner)
			time.Sleep(time.Second)
			require.NoError(t, first.Close())
			require.Equal(t, justInTime.LocalAddr(), accept(t, l).RemoteAddr(), name)
			isReset(t, late)
			s := l.Stats()
			require.Equal(t, uint64(1), s.Rejected[listener.OverPatience])
			require.Equal(t, uint64(2), s.Accepted)
			require.Zero(t, s.Corpses)
		})
	}
}

// It hears why, if there is a hook.
func TestPatienceSaysGoodbye(t *testing.T) {
	lim := listener.Limits{MaxConns: 1, Patience: time.Second, Reject: func(c net.Conn, why listener.Reason) {
		_, _ = io.WriteString(c, why.String())
	}}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		late := connect(t, inner)
		time.Sleep(501 * time.Millisecond)
		got := acceptLater(l)
		answer, err := io.ReadAll(late)
		require.NoError(t, err)
		require.Equal(t, "patience", string(answer))
		require.NoError(t, l.Close())
		<-got
	})
}

// Nobody is turned away for having waited whose patience is not known, for whom
// a limit means no wait, or who is exempt.
func TestPatienceTrustsTheOthers(t *testing.T) {
	for name, lim := range map[string]listener.Limits{
		"unset":    {MaxPending: 1},
		"negative": {MaxPending: 1, Patience: -1},
		"rate":     {Rate: 1, Patience: time.Second}, // has a queue that is short enough
		"reset":    {MaxPending: 1, Patience: time.Second, Overflow: listener.Reset},
		"exempt":   {MaxPending: 1, Patience: time.Second, Exempt: func(net.Addr) bool { return true }},
		"source":   {PerSource: 1, Patience: time.Second},
	} {
		throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
			client := connect(t, inner)
			time.Sleep(time.Hour)
			require.Equal(t, client.LocalAddr(), accept(t, l).RemoteAddr(), name)
			require.Zero(t, l.Stats().Rejected[listener.OverPatience], name)
		})
	}
}

// The queue of a parked gate, after an outage of an hour: all are served unless
// the limits know better.
func TestPatienceOfParkedClients(t *testing.T) {
	for _, patience := range []time.Duration{0, time.Minute, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			inner := listenertest.New()
			g := listener.NewGate(inner)
			l := listener.Throttle(g, listener.Limits{MaxPending: 1, Patience: patience})
			got := acceptLater(l)
			var clients []net.Conn
			for range 10 {
				clients = append(clients, connect(t, inner))
			}
			time.Sleep(time.Hour)
			require.NoError(t, g.Open(t.Context()))
			if patience == time.Minute {
				pending(t, got)
				for _, c := range clients {
					isReset(t, c)
				}
				require.Equal(t, uint64(10), l.Stats().Rejected[listener.OverPatience])
				require.NoError(t, l.Close())
				<-got
				return
			}
			for range clients {
				c := <-got
				require.NoError(t, c.err)
				require.True(t, listener.Admit(c.Conn))
				defer c.Close()
				got = acceptLater(l)
			}
			require.NoError(t, l.Close())
			<-got
		})
	}
}

// Who becomes late in our hands, because limits were lowered, is late as well.
func TestPatienceEndsInHand(t *testing.T) {
	lim := listener.Limits{MaxPending: 2, PendingTimeout: -1, Patience: 2 * time.Second}
	throttled(t, lim, func(t *testing.T, inner *listenertest.Listener, l *listener.Throttled) {
		connect(t, inner)
		first := accept(t, l)
		got := acceptLater(l)
		synctest.Wait() // inside, with room for one
		lim.MaxPending = 1
		l.SetLimits(lim)
		late := connect(t, inner)
		time.Sleep(1001 * time.Millisecond)
		synctest.Wait()
		require.True(t, listener.Admit(first))
		isReset(t, late)
		fresh := connect(t, inner)
		require.Equal(t, fresh.LocalAddr(), (<-got).RemoteAddr())
	})
}
