package ttlcachetest_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

func TestProviderAnswers(t *testing.T) {
	var p ttlcachetest.Provider
	user, err := p.Load(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, "user of x", user)
	p.Forget("x")
	_, err = p.Load(t.Context(), "x")
	require.True(t, ttlcachetest.Denied(err))
	_, err = p.Load(t.Context(), "y")
	require.NoError(t, err, "Forget concerns one token")
	p.Know("x", "ada")
	user, err = p.Load(t.Context(), "x")
	require.NoError(t, err)
	require.Equal(t, "ada", user)
	_, err = p.Load(t.Context(), "y")
	require.ErrorIs(t, err, ttlcachetest.ErrDenied, "after Know all others are denied")
	p.Fail(io.ErrUnexpectedEOF)
	_, err = p.Load(t.Context(), "x")
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	p.Fail(nil)
	require.Equal(t, 4, p.Asked("x"))
	require.Equal(t, ttlcachetest.ProviderStats{Asked: 6, Denied: 2, Failed: 1, PeakAsks: 1}, p.Stats())
}

func TestProviderIsSlowAndLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ttlcachetest.Provider{Took: time.Second, Parallel: 2}
		var wg sync.WaitGroup
		began := time.Now()
		for i := range 10 {
			wg.Go(func() { _, _ = p.Load(t.Context(), strconv.Itoa(i)) })
		}
		wg.Wait()
		require.Equal(t, 5*time.Second, time.Since(began))
		require.Equal(t, 10, p.Stats().PeakAsks)
	})
}

// A lookup whose caller has left is still executed: that is what makes a livelock.
func TestProviderWorksForCallersThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ttlcachetest.Provider{Took: time.Second, Parallel: 1}
		began := time.Now()
		for range 5 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, err := p.Load(ctx, "left")
			require.ErrorIs(t, err, context.DeadlineExceeded)
			cancel()
		}
		_, err := p.Load(t.Context(), "stays")
		require.NoError(t, err)
		require.Equal(t, 6*time.Second, time.Since(began))
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			_, _ = p.Load(ctx, "left")
			cancel()
		}
		p.Wait()
		require.Equal(t, 8*time.Second, time.Since(began), "Wait waits for lookups without a caller")
		p.Wait()
	})
}

func TestProviderIgnoresContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ttlcachetest.Provider{Took: time.Minute, IgnoreContext: true}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := p.Load(ctx, "x")
		require.NoError(t, err)
	})
}

func TestProviderHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := ttlcachetest.Provider{Took: time.Second}
		errs := make(chan error, 2)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() { _, err := p.Load(t.Context(), "before"); errs <- err }()
		synctest.Wait()
		p.Hang(true)
		p.Hang(true)
		_, err := p.Load(ctx, "during")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		p.Hang(false)
		p.Hang(false)
		require.NoError(t, <-errs)
		require.Equal(t, time.Minute, time.Since(began), "what was under way hung as well")
	})
}

func TestProviderIntrospection(t *testing.T) {
	var p ttlcachetest.Provider
	p.Know("good", "ada")
	ask := func(token string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(url.Values{"token": {token}}.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		p.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	code, body := ask("good")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"active":true,"sub":"ada","username":"ada"}`, body)
	code, body = ask("bad")
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"active":false}`, body)
	p.Fail(errors.New("away"))
	code, _ = ask("good")
	require.Equal(t, http.StatusServiceUnavailable, code)
}
