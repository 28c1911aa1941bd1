package transporttest_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// ask sends a request that ends after limit at the latest.
func ask(ctx context.Context, client *http.Client, url string, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// What is open falls silent and what comes later works, twice.
func TestVanish(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, sized)
			for n := range 2 {
				client := &http.Client{Transport: srv.Client().Transport.(*http.Transport).Clone()}
				require.NoError(t, ask(t.Context(), client, srv.URL+"/?12345", time.Minute))
				require.Equal(t, n+1, srv.Conns())
				requests := srv.Requests()
				srv.Vanish()
				require.ErrorIs(t, ask(t.Context(), client, srv.URL, 100*time.Millisecond), context.DeadlineExceeded)
				require.Equal(t, requests, srv.Requests())
			}
			srv.Vanish()
		})
	}
}

// An answer that was not sent yet never comes, and neither does the end of its server.
func TestVanishBelowAHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		leave := make(chan struct{})
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			<-leave
			w.Header().Set("Connection", "close")
			sized(w, r)
		}))
		var wg sync.WaitGroup
		wg.Go(func() {
			start := time.Now()
			require.ErrorIs(t, ask(t.Context(), srv.Client(), srv.URL+"/?12345", time.Hour), context.DeadlineExceeded)
			require.Equal(t, time.Hour, time.Since(start))
		})
		synctest.Wait()
		srv.Vanish()
		close(leave)
		wg.Wait()
	})
}

// Close ends what vanished, also under a client that waits for it.
func TestCloseEndsWhatVanished(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := start(t, sized)
			require.NoError(t, ask(t.Context(), srv.Client(), srv.URL, time.Minute))
			srv.Vanish()
			sent := make(chan struct{})
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { close(sent) }})
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, srv.URL, http.NoBody)
			require.NoError(t, err)
			failed := make(chan error)
			go func() {
				_, err := srv.Client().Do(req) //nolint:bodyclose // there is none
				failed <- err
			}()
			<-sent
			srv.Close()
			require.Error(t, <-failed)
		})
	}
}
