package transport_test

import (
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
)

func TestRetryAfter(t *testing.T) {
	const never = time.Duration(math.MaxInt64)
	for _, c := range []struct {
		seconds, millis string
		want            time.Duration
		ok              bool
	}{
		{"", "", 0, false},
		{"soon", "", 0, false},
		{"120", "", 2 * time.Minute, true},
		{" 120\t", "", 2 * time.Minute, true},
		{"+3", "", 3 * time.Second, true},
		{"0", "", 0, true},
		{"-0", "", 0, true},
		{"-5", "", 0, true},
		{"-99999999999999999999", "", 0, true},
		{"99999999999999999999", "", never, true},
		{"9223372036", "", 9223372036 * time.Second, true},
		{"9223372037", "", never, true},
		{"9223372036.9", "", never, true},
		{"1.5", "", 1500 * time.Millisecond, true},
		{"0.0000000001", "", 1, true}, // never short
		{"0.0000000000", "", 0, true},
		{"1.", "", time.Second, true},
		{".5", "", 0, false},
		{"1e3", "", 0, false},
		{"0x10", "", 0, false},
		{"NaN", "", 0, false},
		{"Inf", "", 0, false},
		{"1_000", "", 0, false},
		{"--1", "", 0, false},
		{"-+1", "", 0, false},
		{"+-1", "", 0, false},
		{"-", "", 0, false},
		{"1 2", "", 0, false},
		{"", "1500", 1500 * time.Millisecond, true},
		{"7", "1500", 1500 * time.Millisecond, true},
		{"7", "0", 0, true},
		{"7", "-1", 0, true},
		{"7", "later", 7 * time.Second, true},
		{"", "0.0000001", 1, true},
		{"", "1.000001", time.Millisecond + 1, true},
		{"", "9223372036855", never, true},
	} {
		h := http.Header{}
		if c.seconds != "" {
			h.Set("Retry-After", c.seconds)
		}
		if c.millis != "" {
			h.Set("Retry-After-Ms", c.millis)
		}
		got, ok := transport.RetryAfter(h)
		require.Equal(t, c.want, got, c)
		require.Equal(t, c.ok, ok, c)
	}
	_, ok := transport.RetryAfter(nil)
	require.False(t, ok)
}

func TestRetryAfterDate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := func(d time.Duration) string { return time.Now().UTC().Add(d).Format(http.TimeFormat) }
		for d, want := range map[time.Duration]time.Duration{
			30 * time.Second:  30 * time.Second,
			24 * time.Hour:    24 * time.Hour,
			0:                 0,
			-30 * time.Second: 0,
		} {
			got, ok := transport.RetryAfter(http.Header{"Retry-After": {at(d)}})
			require.True(t, ok)
			require.Equal(t, want, got)
		}
		// The server's clock is an hour ahead: its Date says so.
		got, ok := transport.RetryAfter(http.Header{"Retry-After": {at(time.Hour + 30*time.Second)}, "Date": {at(time.Hour)}})
		require.True(t, ok)
		require.Equal(t, 30*time.Second, got)

		got, ok = transport.RetryAfter(http.Header{"Retry-After": {"Fri, 31 Dec 9999 23:59:59 GMT"}})
		require.True(t, ok)
		require.Equal(t, time.Duration(math.MaxInt64), got)
		got, ok = transport.RetryAfter(http.Header{"Retry-After": {"Fri, 31 Dec 0001 23:59:59 GMT"}})
		require.True(t, ok)
		require.Zero(t, got)
	})
}

func TestSetRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration][2]string{
		1:                       {"1", "1"},
		time.Millisecond:        {"1", "1"},
		time.Second:             {"1", "1000"},
		1500 * time.Millisecond: {"2", "1500"},
		time.Second + 1:         {"2", "1001"},
		math.MaxInt64:           {"9223372037", "9223372036855"},
	} {
		h := http.Header{}
		transport.SetRetryAfter(h, d)
		require.Equal(t, want, [2]string{h.Get("Retry-After"), h.Get("Retry-After-Ms")}, d)
	}
	for _, d := range []time.Duration{0, -1, math.MinInt64} {
		h := http.Header{}
		transport.SetRetryAfter(h, time.Minute)
		transport.SetRetryAfter(h, d)
		require.Empty(t, h)
	}
}

// What one side sets the other reads: never less, and less than a millisecond more.
func FuzzSetRetryAfter(f *testing.F) {
	for _, d := range []int64{0, 1, -1, 999, 1e6, 1e9, 1e9 + 1, math.MaxInt64, math.MaxInt64 - 1, math.MinInt64} {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, n int64) {
		d, h := time.Duration(n), http.Header{}
		transport.SetRetryAfter(h, d)
		got, ok := transport.RetryAfter(h)
		if ok != (d > 0) || ok && (got < d || got-d >= time.Millisecond) {
			t.Fatalf("set %v, read %v, %v", d, got, ok)
		}
		h.Del("Retry-After-Ms")
		got, ok = transport.RetryAfter(h)
		if ok != (d > 0) || ok && (got < d || got-d >= time.Second) {
			t.Fatalf("set %v, read %v, %v in seconds", d, got, ok)
		}
	})
}

// Whatever a server sends: no panic, nothing negative, and no less than the number says.
func FuzzRetryAfter(f *testing.F) {
	for _, s := range []string{"", "1", "-1", "1.5", "0.0000000001", "9223372036", "99999999999999999999", "NaN", "1e9", "Fri, 31 Dec 9999 23:59:59 GMT", "+0.1", "5 "} {
		f.Add(s, "")
		f.Add("", s)
		f.Add("7", s)
	}
	f.Fuzz(func(t *testing.T, seconds, millis string) {
		h := http.Header{"Retry-After": {seconds}, "Retry-After-Ms": {millis}}
		d, ok := transport.RetryAfter(h)
		if d < 0 || !ok && d != 0 {
			t.Fatalf("%q: %v, %v", h, d, ok)
		}
		n, err := strconv.ParseInt(millis, 10, 64)
		if err != nil {
			return
		}
		if !ok || n <= 0 && d != 0 || n > 0 && d != math.MaxInt64 && d != time.Duration(n)*time.Millisecond {
			t.Fatalf("%q: %v, %v", h, d, ok)
		}
	})
}

func TestMarkRetryable(t *testing.T) {
	req := newRequest(t, "http://fake.test")
	req.Header = nil
	transport.MarkRetryable(req)
	transport.MarkRetryable(req)
	require.Equal(t, http.Header{"Idempotency-Key": {}}, req.Header)
	req.Header.Set("Idempotency-Key", "theirs")
	transport.MarkRetryable(req)
	require.Equal(t, "theirs", req.Header.Get("Idempotency-Key"))
}

// A server that closes an idle connection just when a POST is sent on it: the
// POST is lost, or sent again if it was marked. The mark is not on the wire.
func TestMarkedPostSurvivesADeadConnection(t *testing.T) {
	for _, marked := range []bool{true, false} {
		for _, age := range []time.Duration{0, time.Hour} { // with the header cloned, too
			l, err := net.Listen("tcp", "127.0.0.1:0")
			require.NoError(t, err)
			var wire atomic.Value
			go oneEach(l, &wire)
			r := &transport.Reuse{Base: transport.New(1), MaxConnAge: age}
			url := "http://" + l.Addr().String()
			readAll(t, r, url)
			req, err := http.NewRequest(http.MethodPost, url, strings.NewReader("body"))
			require.NoError(t, err)
			if marked {
				transport.MarkRetryable(req)
			}
			resp, err := r.RoundTrip(req)
			if marked {
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			} else {
				require.Error(t, err)
			}
			require.NotContains(t, wire.Load(), "Idempotency")
			require.Contains(t, wire.Load(), "POST")
			r.CloseIdleConnections()
			require.NoError(t, l.Close())
		}
	}
}

// oneEach answers the first request of each connection as if more were welcome,
// and hangs up on the second.
func oneEach(l net.Listener, wire *atomic.Value) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 4096)
			for _, answer := range []string{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""} {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				wire.Store(string(buf[:n]))
				_, _ = io.WriteString(c, answer)
			}
		}()
	}
}
