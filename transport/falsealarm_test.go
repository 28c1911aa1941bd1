package transport_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// A slow server is not a dead one: what another answer has proven alive stays.
func TestSlowIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 64
		srv := transporttest.NewPipeServer(t, together(n))
		r := &transport.Reuse{Base: base(t, srv, n)}
		warm(t, r, srv.URL, n)
		for range 7 { // in which 8 of 64 connections end
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					require.ErrorIs(t, try(r, srv.URL+"/?n=10&wait=10s", 3*time.Second), context.DeadlineExceeded)
				})
			}
			time.Sleep(2 * time.Second)
			require.NoError(t, try(r, srv.URL+"/?n=10&wait=1ms", 3*time.Second)) // the host lives
			wg.Wait()
		}
		require.Zero(t, r.Stats().Dropped)
		require.Equal(t, n, srv.Conns(), "nothing had to be dialed")
	})
}

// An hour of ordinary traffic, in which a request of a hundred hangs, costs no dial but
// those that net/http needs as well.
func TestNoFalseAlarm(t *testing.T) {
	dials := make(map[bool]int)
	for _, with := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			srv := transporttest.NewPipeServer(t, together(1))
			var rt http.RoundTripper = base(t, srv, 16)
			r := &transport.Reuse{Base: rt}
			if with {
				rt = r
			}
			failed := make([]int, 8)
			var wg sync.WaitGroup
			for w := range failed {
				wg.Go(func() {
					time.Sleep(time.Duration(w) * time.Second / 2)
					for i := range 900 {
						wait := fmt.Sprint(5+(w*7+i)%90, "ms")
						if i%100 == 12*w {
							wait = "10s"
						}
						if try(rt, srv.URL+"/?n=10&wait="+wait, 3*time.Second) != nil {
							failed[w]++
						}
						time.Sleep(4*time.Second - time.Duration((w*13+i)%100)*time.Millisecond)
					}
				})
			}
			wg.Wait()
			for w := range failed {
				require.Equal(t, 9, failed[w])
			}
			require.Zero(t, r.Stats().Dropped)
			dials[with] = srv.Conns()
		})
	}
	t.Logf("%d dials without, %d with Reuse", dials[false], dials[true])
	require.LessOrEqual(t, dials[true], dials[false]+2)
}

// A connection that is new says nothing about old ones, nor does an answer that began.
func TestWhatRaisesNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/early":
				w.WriteHeader(http.StatusEarlyHints)
				<-r.Context().Done()
			case "/body":
				_ = http.NewResponseController(w).Flush()
				<-r.Context().Done()
			case "/hang":
				<-r.Context().Done()
			default:
				together(1).ServeHTTP(w, r)
			}
		}))
		r := &transport.Reuse{Base: base(t, srv, 8)}
		require.Error(t, try(r, srv.URL+"/hang", time.Second)) // on its first connection
		for _, path := range []string{"/early", "/body"} {
			require.NoError(t, try(r, srv.URL+"/?n=10", time.Second))
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() { require.NoError(t, try(r, srv.URL+"/?n=10&wait=1ms", time.Second)) })
			}
			wg.Wait()
			require.Error(t, try(r, srv.URL+path, time.Second))
			warm(t, r, srv.URL, 2)
		}
		ctx, cancel := context.WithCancel(t.Context()) // the caller lost interest
		time.AfterFunc(time.Second, cancel)
		_, err := r.RoundTrip(newRequest(t, srv.URL+"/hang").WithContext(ctx)) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, context.Canceled)
		warm(t, r, srv.URL, 2)
		require.Zero(t, r.Stats().Dropped)
	})
}

// A request on a new connection that gets no answer says nothing about the old ones.
func TestNewConnectionRaisesNoSuspicion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := new(net.TCPConn), new(net.TCPConn)
		for _, reused := range []bool{false, true} {
			r := &transport.Reuse{}
			report := new(reporter)
			r.Base = report
			send := func(path string, info httptrace.GotConnInfo) {
				report.infos = []httptrace.GotConnInfo{info}
				_ = try(r, "http://fake.test"+path, time.Second)
			}
			send("/", httptrace.GotConnInfo{Conn: old})
			send("/hang", httptrace.GotConnInfo{Conn: fresh, Reused: reused})
			send("/", httptrace.GotConnInfo{Conn: old, Reused: true})
			require.Equal(t, reused, r.Stats().Dropped > 0)
		}
	})
}
