package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/ttlcache/ttlcachetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A line is what play prints each second.
type line struct{ connected, attempts, asked int }

// lines plays a step in virtual time.
func lines(t *testing.T, number int) map[string]line {
	var out bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		idp := &ttlcachetest.Provider{Took: 100 * time.Millisecond, Parallel: 4}
		l := listenertest.New()
		dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return l.Dial(ctx) }
		play(t.Context(), steps(idp)[number], idp, l, dial, &out)
		idp.Wait()
	})
	all := map[string]line{}
	for text := range strings.Lines(out.String()) {
		var at string
		var n line
		if _, err := fmt.Sscanf(text, "%s connected %d of 200 attempts %d logins asked %d", &at, &n.connected, &n.attempts, &n.asked); err == nil {
			all[at] = n
		}
	}
	require.Len(t, all, 22, out.String())
	t.Log(out.String())
	return all
}

// The figures of docs/TUTORIAL.md: what each step cures, and what it does not.
func TestSteps(t *testing.T) {
	for _, number := range []int{0, 1} {
		n := lines(t, number)
		require.Less(t, n["15s"].connected, 60, "step %d: a livelock", number)
		require.Less(t, n["24s"].connected, 60, "step %d", number)
		require.Greater(t, n["24s"].asked, 1000, "step %d: logins for callers that have left", number)
	}
	n := lines(t, 2)
	require.Equal(t, line{200, 200, 200}, n["9s"], "one attempt and one login each")
	require.Equal(t, line{200, 400, 400}, n["24s"], "the cut costs one more")
	n = lines(t, 3)
	require.Equal(t, line{200, 200, 200}, n["9s"])
	require.Equal(t, line{200, 400, 200}, n["24s"], "the cut costs no login")
}

func TestBadFlags(t *testing.T) {
	for want, args := range map[string][]string{
		"-step is 4, want 0 to 3": {"-step", "4"},
		"-step is -1":             {"-step", "-1"},
		"flag provided but not":   {"-nonsense"},
	} {
		var stderr bytes.Buffer
		require.Equal(t, 2, run(t.Context(), args, io.Discard, &stderr))
		require.Contains(t, stderr.String(), want)
	}
	require.Zero(t, run(t.Context(), []string{"-h"}, io.Discard, io.Discard))
}
