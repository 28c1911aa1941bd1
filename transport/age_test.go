package transport_test

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// births notes when each connection was opened, on the server.
type births struct {
	mu sync.Mutex
	at []time.Time
}

func (b *births) watch(dial func(context.Context, string, string) (net.Conn, error)) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		b.mu.Lock()
		b.at = append(b.at, time.Now())
		b.mu.Unlock()
		return dial(ctx, network, addr)
	}
}

func TestMaxConnAgeExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1), MaxConnAge: 10 * time.Minute, Jitter: -1}
		for range 60 { // for an hour, a request a minute
			readAll(t, r, srv.URL+"/?n=10")
			time.Sleep(time.Minute)
		}
		// A connection is first used in minute 0 and last in minute 10, so 11 requests each.
		require.Equal(t, 6, srv.Conns())
		s := r.Stats()
		require.EqualValues(t, 5, s.Retired)
		require.EqualValues(t, 6, s.Dialed)
		require.EqualValues(t, 54, s.Reused)
		require.Zero(t, s.Failed)
	})
}

// Idle for longer than its age, a connection carries one more request.
func TestMaxConnAgeAfterIdling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		tr := base(t, srv, 1)
		tr.IdleConnTimeout = 0
		r := &transport.Reuse{Base: tr, MaxConnAge: time.Minute}
		readAll(t, r, srv.URL+"/?n=10")
		time.Sleep(24 * time.Hour)
		readAll(t, r, srv.URL+"/?n=10")
		require.Equal(t, 1, srv.Conns())
		readAll(t, r, srv.URL+"/?n=10")
		require.Equal(t, 2, srv.Conns())
	})
}

// Each connection has an age of its own, drawn from (age*(1-Jitter), age].
func TestMaxConnAgeJitter(t *testing.T) {
	for _, c := range []struct {
		jitter, low float64
		n           int
	}{{0, 0.75, 200}, {0.5, 0.5, 200}, {1, 0, 200}, {7, 0, 20}, {-1, 1, 20}, {math.NaN(), 0.75, 20}} {
		synctest.Test(t, func(t *testing.T) {
			srv := transporttest.NewPipeServer(t, payload)
			tr := base(t, srv, 1)
			tr.IdleConnTimeout = 0
			r := &transport.Reuse{Base: tr, MaxConnAge: 1000 * time.Second, Jitter: c.jitter}
			least, most, sum := 2.0, 0.0, 0.0
			for range c.n {
				life := oneLife(t, r, srv.URL, c.low)
				least, most, sum = min(least, life), max(most, life), sum+life
			}
			require.GreaterOrEqual(t, least, c.low)
			require.LessOrEqual(t, most, 1+tick)
			if c.n < 200 {
				return
			}
			// Uniform: the chance that none of 200 is in the outer tenth is 7e-10.
			require.Less(t, least, c.low+(1-c.low)/10+tick)
			require.Greater(t, most, 1-(1-c.low)/10)
			// Six standard deviations of the mean, (1-low)/sqrt(12)/sqrt(200).
			require.InDelta(t, (1+c.low)/2, sum/200, 6*(1-c.low)/49+tick)
		})
	}
}

// tick is the time between two requests, as a share of the age.
const tick = 0.05

// oneLife returns the share of MaxConnAge after which a connection is retired.
func oneLife(t testing.TB, r *transport.Reuse, url string, low float64) float64 {
	t.Helper()
	before := r.Stats().Retired
	readAll(t, r, url+"/?n=1") // opens it
	born := time.Now()
	if low > tick {
		time.Sleep(time.Duration((low - tick) * float64(r.MaxConnAge)))
	}
	for {
		readAll(t, r, url+"/?n=1")
		if r.Stats().Retired > before {
			return float64(time.Since(born)) / float64(r.MaxConnAge)
		}
		time.Sleep(time.Duration(tick * float64(r.MaxConnAge)))
	}
}

// Under load no request fails when its connection, or that of others, is retired.
func TestMaxConnAgeFailsNothing(t *testing.T) {
	for name, start := range protocols {
		for _, upload := range []string{"", "with an upload"} {
			t.Run(name+upload, func(t *testing.T) {
				t.Parallel()
				srv := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					n, _ := io.Copy(io.Discard, r.Body)
					if upload != "" && n != 3000 {
						http.Error(w, "short", http.StatusBadRequest)
					}
				}))
				r := &transport.Reuse{Base: base(t, srv, 8), MaxConnAge: 30 * time.Millisecond}
				end := time.Now().Add(150 * time.Millisecond)
				if long {
					r.MaxConnAge = 200 * time.Millisecond
					end = time.Now().Add(5 * time.Second)
				}
				var wg sync.WaitGroup
				var failed atomic.Pointer[error]
				for range 8 {
					wg.Go(func() {
						for time.Now().Before(end) || r.Stats().Retired == 0 { // the machine may be busy
							if err := post(r, srv.URL, upload != ""); err != nil {
								failed.Store(&err)
							}
						}
					})
				}
				wg.Wait()
				if err := failed.Load(); err != nil {
					require.NoError(t, *err)
				}
				s := r.Stats()
				t.Logf("%+v, %d connections", s, srv.Conns())
				require.Zero(t, s.Failed)
				require.NotZero(t, s.Retired)
				require.Greater(t, srv.Conns(), 1)
			})
		}
	}
}

// post sends a body that net/http cannot rewind.
func post(rt http.RoundTripper, url string, upload bool) error {
	var body io.Reader
	if upload {
		body = io.MultiReader(strings.NewReader(strings.Repeat("x", 3000)))
	}
	req, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		return err
	}
	resp, err := rt.RoundTrip(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return errors.Join(err, resp.Body.Close())
}

// Connections that were opened together are not retired together.
func TestRetirementsSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { time.Sleep(time.Millisecond) }))
		tr := base(t, srv, 32)
		var born births
		tr.DialContext = born.watch(tr.DialContext)
		r := &transport.Reuse{Base: tr, MaxConnAge: time.Minute}
		end := time.Now().Add(50 * time.Second) // within the first age
		var wg sync.WaitGroup
		for range 32 {
			wg.Go(func() {
				for time.Now().Before(end.Add(10 * time.Second)) {
					readAll(t, r, srv.URL)
					time.Sleep(time.Second)
				}
			})
		}
		wg.Wait()
		perTenth := map[int64]int{}
		later := 0
		for _, at := range born.at {
			if age := at.Sub(born.at[0]); age > time.Second {
				later++
				perTenth[int64(age/(100*time.Millisecond))]++
			}
		}
		require.Greater(t, later, 16)
		for _, n := range perTenth {
			require.Less(t, n, later/2, "in 100 ms")
		}
	})
}

// A server that goes on after "Connection: close" is asked again, and its
// connection is counted once.
func TestServerThatIgnoresClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		tr := transport.New(1)
		defer tr.CloseIdleConnections()
		tr.DialContext = stubborn(func(request string) {
			if strings.Contains(request, "\r\nConnection: close\r\n") {
				asked++
			}
		})
		r := &transport.Reuse{Base: tr, MaxConnAge: time.Second}
		for range 5 {
			readAll(t, r, "http://stubborn.test")
			time.Sleep(2 * time.Second)
		}
		require.Equal(t, 4, asked)
		require.EqualValues(t, 1, r.Stats().Dialed)
		require.EqualValues(t, 1, r.Stats().Retired)
	})
}

// Many a RoundTripper sends a copy of the request, whose header is out of reach when the
// connection is known: old connections are then closed before they are used again.
func TestMaxConnAgeOverABaseThatCopies(t *testing.T) {
	for name, start := range protocols {
		t.Run(name, func(t *testing.T) {
			srv := start(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(w, r.Body) }))
			tr := base(t, srv, 16)
			r := &transport.Reuse{MaxConnAge: 1, Base: roundTrip(func(req *http.Request) (*http.Response, error) {
				return tr.RoundTrip(req.Clone(req.Context()))
			})}
			upload := func() {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, io.LimitReader(strings.NewReader("some words"), 10))
				require.NoError(t, err)
				resp, err := r.RoundTrip(req)
				require.NoError(t, err)
				b, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "some words", string(b))
				require.NoError(t, resp.Body.Close())
			}
			for range 10 {
				upload()
			}
			require.Equal(t, 5, srv.Conns(), "a request that opens one, and one that is too late")
			require.EqualValues(t, 5, r.Stats().Retired)
			require.Zero(t, r.Stats().Dropped)
			var all sync.WaitGroup
			for range 8 {
				all.Go(func() {
					for range 20 {
						upload()
					}
				})
			}
			all.Wait()
		})
	}
}

// stubborn dials a server that answers everything and closes nothing.
func stubborn(seen func(request string)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe()
		go func() {
			buf := make([]byte, 4096)
			for {
				n, err := server.Read(buf)
				if err != nil {
					return
				}
				seen(string(buf[:n]))
				_, _ = io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}()
		return client, nil
	}
}

// What the caller says about the connection stands.
func TestCallersConnectionHeaderStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			got = append(got, r.Header.Get("Connection")+"/"+r.Header.Get("Upgrade"))
		}))
		r := &transport.Reuse{Base: base(t, srv, 1), MaxConnAge: time.Second}
		readAll(t, r, srv.URL)
		time.Sleep(time.Minute)
		for _, header := range []string{"Connection", "Upgrade"} {
			req := newRequest(t, srv.URL)
			req.Header.Set(header, "mine")
			resp, err := r.RoundTrip(req)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.Zero(t, r.Stats().Retired)
		readAll(t, r, srv.URL)
		require.EqualValues(t, 1, r.Stats().Retired)
		require.Equal(t, []string{"/", "mine/", "/mine", "close/"}, got)
	})
}

// The caller's own trace sees everything, and so do we.
func TestCallersTrace(t *testing.T) {
	for _, age := range []time.Duration{0, time.Hour} {
		srv := transporttest.NewServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1), MaxConnAge: age}
		theirs := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { theirs++ }})
		for range 3 {
			resp, err := r.RoundTrip(newRequest(t, srv.URL).WithContext(ctx))
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
		require.Equal(t, 3, theirs)
		require.EqualValues(t, 1, r.Stats().Dialed)
		require.EqualValues(t, 2, r.Stats().Reused)
	}
}

// Any Base will do that reports its connections, and one that does not is an
// error at once, not an age that is never reached.
func TestMaxConnAgeNeedsATrace(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	tr := base(t, srv, 1)
	r := &transport.Reuse{Base: roundTrip(tr.RoundTrip), MaxConnAge: time.Nanosecond}
	readAll(t, r, srv.URL+"/?n=1")
	readAll(t, r, srv.URL+"/?n=1")
	require.EqualValues(t, 1, r.Stats().Retired)

	inner := &countingBody{}
	r = &transport.Reuse{Base: answering(inner), MaxConnAge: time.Hour}
	_, err := r.RoundTrip(newRequest(t, "http://fake.test")) //nolint:bodyclose // there is none
	require.ErrorContains(t, err, "MaxConnAge needs a Base")
	require.ErrorContains(t, err, "roundTrip")
	require.Equal(t, 1, inner.closed)
	require.EqualValues(t, 1, r.Stats().Failed)
}

// A changed DNS answer is followed within MaxConnAge.
func TestMaxConnAgeFollowsDNS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		before := transporttest.NewPipeServer(t, payload)
		after := transporttest.NewPipeServer(t, payload)
		var moved atomic.Bool
		tr := transport.New(1)
		defer tr.CloseIdleConnections()
		tr.DialContext = func(ctx context.Context, network, addr string) (net.Conn, error) {
			srv := before
			if moved.Load() {
				srv = after
			}
			return srv.Client().Transport.(*http.Transport).DialContext(ctx, network, addr)
		}
		r := &transport.Reuse{Base: tr, MaxConnAge: 5 * time.Minute}
		for range 3 {
			readAll(t, r, "http://moves.test")
			time.Sleep(time.Minute)
		}
		moved.Store(true)
		start := time.Now()
		for after.Requests() == 0 {
			readAll(t, r, "http://moves.test")
			time.Sleep(time.Second)
		}
		require.LessOrEqual(t, time.Since(start), 5*time.Minute)
	})
}
