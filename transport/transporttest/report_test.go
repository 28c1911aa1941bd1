package transporttest_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// report is what WantConns(1) says of a server that play was played with. The handler
// answers requests n at a time.
func report(t *testing.T, n int, play func(t *testing.T, srv *transporttest.Server)) string {
	t.Helper()
	text := ""
	synctest.Test(t, func(t *testing.T) {
		tb := &recorder{TB: t}
		var mu sync.Mutex
		here, all := 0, make(chan struct{})
		srv := transporttest.NewPipeServer(tb, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			mine := all
			if here++; here == n {
				close(all)
				here, all = 0, make(chan struct{})
			}
			mu.Unlock()
			<-mine
			_, _ = w.Write(make([]byte, len(r.URL.RawQuery)<<20))
		}))
		play(t, srv)
		synctest.Wait()
		srv.WantConns(1)
		text = tb.end()
	})
	return text
}

func atOnce(n int, f func()) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(f)
	}
	wg.Wait()
}

// Too many idle connections are named as the one cause, in one line.
func TestWantConnsNamesTheIdleLimit(t *testing.T) {
	got := report(t, 8, func(t *testing.T, srv *transporttest.Server) {
		srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 2
		for range 3 {
			atOnce(8, func() { read(t, get(t, srv.Client(), srv.URL)) })
			synctest.Wait()
		}
	})
	require.Regexp(t, `more were idle than it keeps \(MaxIdleConnsPerHost\): 8 requests were in flight at once, 2 connections are kept`, got)
	require.NotContains(t, got, "EOF")
	require.Less(t, strings.Count(got, "\n"), 9, got)
}

// Ten equal lines are one.
func TestWantConnsJoinsEqualLines(t *testing.T) {
	got := report(t, 1, func(t *testing.T, srv *transporttest.Server) {
		for range 10 {
			require.NoError(t, get(t, srv.Client(), srv.URL+"/?x").Body.Close())
			synctest.Wait()
		}
	})
	require.Equal(t, 1, strings.Count(got, "\n"), got)
	require.Contains(t, got, "10 connections, 1 to 10, each: one request, GET /?x (")
	require.NotContains(t, got, "MaxIdleConnsPerHost")
}

// With Check it is certain, also where several causes meet.
func TestCheckMakesReportsCertain(t *testing.T) {
	got := report(t, 4, func(t *testing.T, srv *transporttest.Server) {
		srv.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 1
		client := srv.Client()
		transporttest.Check(t, client)
		var wg sync.WaitGroup
		wg.Go(func() { require.NoError(t, get(t, client, srv.URL+"/unread?x").Body.Close()) })
		wg.Go(func() { read(t, get(t, client, srv.URL+"/read")) })
		wg.Go(func() { read(t, get(t, client, srv.URL+"/read")) })
		wg.Go(func() {
			ctx, cancel := context.WithCancel(t.Context())
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/ended?x", nil)
			require.NoError(t, err)
			resp, err := client.Do(req)
			require.NoError(t, err)
			cancel()
			synctest.Wait()
			buf := make([]byte, 1<<20)
			for err == nil {
				_, err = resp.Body.Read(buf)
			}
			require.NoError(t, ignoreCanceled(resp.Body.Close()))
		})
		wg.Wait()
	})
	require.Regexp(t, `GET /unread\?x .*: the body of its last answer was closed before EOF`, got)
	require.Regexp(t, `GET /ended\?x .*: its last answer broke off, or the context of the request ended`, got)
	require.Regexp(t, `GET /read .*: more were idle than it keeps`, got)
	require.Regexp(t, `GET /read .*; open and idle`, got)
}

func ignoreCanceled(err error) error {
	if err == context.Canceled {
		return nil
	}
	return err
}

// A body that is not closed keeps its connection open, and busy for the client.
func TestReportNamesTheOpenBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tb := &recorder{TB: t}
		srv := transporttest.NewPipeServer(tb, sized)
		client := srv.Client()
		transporttest.Check(&recorder{TB: t}, client)
		for range 3 {
			resp := get(t, client, srv.URL+"/?123")
			defer resp.Body.Close()
		}
		synctest.Wait()
		srv.WantConns(1)
		require.Regexp(t, `3 connections, 1 to 3, each: one request, GET /\?123 \(.*\); open: the body of its last answer was not closed$`, tb.end())
	})
}

// Three frames lead out of a helper that everybody calls.
func TestCheckNamesTheCallerOfAHelper(t *testing.T) {
	tb := &recorder{TB: t}
	srv := transporttest.NewServer(t, sized)
	client := srv.Client()
	transporttest.Check(tb, client)
	helper(t, client, srv.URL)
	require.Regexp(t, `\(transporttest/server_test.go:\d+ < transporttest/report_test.go:\d+ < transporttest/report_test.go:\d+\) was never`, tb.end())
}

func helper(t *testing.T, client *http.Client, url string) { get(t, client, url+"/?123") }

// A client that should keep its connection and cannot does not pass unnoticed, whatever
// wraps its transport; one that asks a host once does.
func TestCheckFindsAClientThatKeepsNothing(t *testing.T) {
	for name, spoil := range map[string]func(*http.Transport){
		"keep-alives off": func(t *http.Transport) { t.DisableKeepAlives = true },
		"no idle":         func(t *http.Transport) { t.MaxIdleConnsPerHost = -1 },
		"":                func(*http.Transport) {},
	} {
		for _, wrapped := range []bool{false, true} {
			for _, requests := range []int{1, 3} {
				tb := &recorder{TB: t}
				srv := transporttest.NewServer(t, sized)
				client := &http.Client{Transport: srv.Client().Transport, Timeout: time.Minute}
				spoil(srv.Client().Transport.(*http.Transport))
				if wrapped {
					client.Transport = &transport.Reuse{Base: client.Transport}
				}
				transporttest.Check(tb, client)
				for range requests {
					read(t, get(t, client, srv.URL))
				}
				got := tb.end()
				if name == "" || requests == 1 {
					require.Empty(t, got)
					continue
				}
				require.Contains(t, got, "the client keeps no connection (DisableKeepAlives")
				require.Contains(t, got, "3 requests to 127.0.0.1:")
			}
		}
	}
}
