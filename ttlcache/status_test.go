package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A busy provider says when to come back.
type busy struct{ in time.Duration }

func (b busy) Error() string             { return "busy" }
func (b busy) RetryAfter() time.Duration { return b.in }

func TestStatus(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := provider{took: time.Second}
		for token, err := range map[string]error{
			"bad": fmt.Errorf("says the provider: %w", errBad), "away": errAway, "busy": fmt.Errorf("503: %w", busy{time.Minute}),
			"busy for no time": busy{}, "bad and late": errors.Join(errBad, context.DeadlineExceeded),
		} {
			p.say(token, err)
		}
		c := ttlcache.New(func(ctx context.Context, token string) (string, error) {
			if token == "panic" {
				panic(errBad)
			}
			return p.load(ctx, token)
		}, settings{
			TTL: ttl, DenyTTL: ttl, MaxLoads: 1, LoadTimeout: 5 * time.Second,
			Denied: func(err error) bool { return isBad(err) || errors.Is(err, ttlcache.ErrOverloaded) },
		})
		for token, want := range map[string]struct {
			code int
			hint time.Duration
		}{
			"good": {200, 0}, "bad": {401, 0}, "away": {503, time.Second}, "busy": {503, time.Minute},
			"busy for no time": {503, time.Second}, "bad and late": {503, time.Second}, "panic": {503, time.Second},
		} {
			for range 2 { // the second is from memory, if it is a verdict
				_, err := c.Get(t.Context(), token)
				code, hint := c.Status(err)
				require.Equal(t, want.code, code, token)
				require.Equal(t, want.hint, hint, token)
			}
		}
		var calls []*call
		for i := range 10 {
			calls = append(calls, get(t.Context(), c, fmt.Sprint(i)))
		}
		codes := map[int]int{}
		for _, g := range calls {
			_, err := g.wait()
			code, hint := c.Status(err)
			codes[code]++
			require.Equal(t, code == 503, hint > 0, hint)
		}
		require.Positive(t, codes[200])
		require.Equal(t, 10-codes[200], codes[503], "an overload is no denial, whatever Denied says")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errBad)
		_, err := c.Get(ctx, "late")
		code, _ := c.Status(err)
		require.Equal(t, 503, code, "nor is the end of a caller")
	})
}

// Which of the two deadlines it was that ended first can be told.
func TestLoadTimeoutHasAName(t *testing.T) {
	for name, load := range map[string]func(context.Context, string) (string, error){
		"heeded": func(ctx context.Context, _ string) (string, error) { <-ctx.Done(); return "", ctx.Err() },
		"wrapped": func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			return "", fmt.Errorf("post: %w", context.Cause(ctx))
		},
		"ignored": func(context.Context, string) (string, error) { aMinute(); return "", errAway },
	} {
		for range 10 { // either of the load and its end may be first
			bubble(t, func(t *testing.T) {
				c := ttlcache.New(load, settings{TTL: ttl, LoadTimeout: 2 * time.Second})
				_, err := c.Get(t.Context(), "agent")
				require.ErrorIs(t, err, ttlcache.ErrLoadTimeout, name)
				require.ErrorIs(t, err, context.DeadlineExceeded, name)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err = c.Get(ctx, "other")
				require.NotErrorIs(t, err, ttlcache.ErrLoadTimeout, name)
				require.ErrorIs(t, err, context.DeadlineExceeded, name)
				time.Sleep(2 * ttl)
			})
		}
	}
}

func TestNoLoad(t *testing.T) {
	bubble(t, func(t *testing.T) {
		c := ttlcache.New(ttlcache.NoLoad, settings{TTL: ttl})
		_, err := c.Get(t.Context(), "agent")
		require.ErrorIs(t, err, ttlcache.ErrNoLoad)
		require.True(t, c.Put("agent", "ada", time.Now()))
		v, err := c.Get(t.Context(), "agent")
		require.NoError(t, err)
		require.Equal(t, "ada", v)
	})
}
