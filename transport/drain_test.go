package transport_test

import (
	"encoding/json"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// drains reports whether this Go release drains on Close by itself.
var drains = !strings.HasPrefix(runtime.Version(), "go1.25") && !strings.HasPrefix(runtime.Version(), "go1.26")

func TestUnreadBodiesKeepTheirConnection(t *testing.T) {
	for name, start := range protocols {
		for _, body := range []string{"n=0", "n=1", "n=1024", "n=1024&chunked", "n=65536", "n=65536&chunked", "n=262144", "n=262144&chunked"} {
			t.Run(name+"/"+body, func(t *testing.T) {
				t.Parallel()
				srv := start(t, payload)
				r := patient(t, srv)
				for range 15 {
					closeUnread(t, r, srv.URL+"/?"+body)
				}
				srv.WantConns(1)
			})
		}
	}
}

func TestThousandRequestsSequential(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	r := patient(t, srv)
	for range 1000 {
		closeUnread(t, r, srv.URL+"/?n=1024")
	}
	srv.WantConns(1)
	s := r.Stats()
	require.Equal(t, transport.Stats{Requests: 1000, Reused: 999, Dialed: 1, Drained: 1000, DrainedBytes: 1024 * 1000}, s)
	require.InDelta(t, 0.999, s.ReuseRatio(), 1e-9)
}

// With the default limits, too, whatever a machine that does something else for
// more than 50ms costs.
func TestDefaultLimitsSuffice(t *testing.T) {
	for _, query := range []string{"n=1024", "n=65536&chunked", "n=262144", "n=262144&chunked"} {
		n, conns := 100, 0
		if long {
			n = 1000
		}
		for range 3 { // measurements
			srv := transporttest.NewServer(t, payload)
			r := &transport.Reuse{Base: base(t, srv, 1)}
			for range n {
				closeUnread(t, r, srv.URL+"/?"+query)
			}
			if conns = srv.Conns(); conns <= 5 {
				break
			}
		}
		require.LessOrEqual(t, conns, 5, query)
	}
}

// What it is for, on Go 1.26: the same without Reuse.
func TestWithoutReuse(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	tr := base(t, srv, 1)
	n := 200
	if long {
		n = 1000
	}
	for range n {
		closeUnread(t, tr, srv.URL+"/?n=1024")
	}
	if drains {
		require.Less(t, srv.Conns(), n)
	} else {
		require.Equal(t, n, srv.Conns())
	}
}

// Known length: what is left decides, not the whole, and not by trying.
func TestLengthLeftDecides(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	const size = 1 << 20
	for _, c := range []struct {
		name  string
		read  int64
		conns int
	}{
		{"one byte left", size - 1, 1},
		{"the limit left", size - 256<<10, 1},
		{"one more than the limit", size - 256<<10 - 1, 10},
		{"all left", 0, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := patient(t, srv)
			before := srv.Conns()
			for range 10 {
				resp := get(t, r, srv.URL+"/?n=1048576")
				_, err := io.CopyN(io.Discard, resp.Body, c.read)
				require.NoError(t, err)
				require.NoError(t, resp.Body.Close())
			}
			require.Equal(t, c.conns, srv.Conns()-before)
			s := r.Stats()
			if c.conns == 1 {
				require.EqualValues(t, 10, s.Drained)
				require.EqualValues(t, 10*(size-c.read), s.DrainedBytes)
			} else {
				require.EqualValues(t, 10, s.Abandoned)
				require.Zero(t, s.DrainedBytes, "a limited drain of a longer body is the worst of both")
			}
		})
	}
}

func TestDrainBytesIsTheLimit(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	for _, c := range []struct {
		limit int64
		query string
		keeps bool
	}{
		{100, "n=100", true},
		{100, "n=101", false},
		{100, "n=100&chunked", true},
		{100, "n=10000&chunked", false},
		{-1, "n=1", false},
		{-1, "n=1&chunked", false},
		{1 << 62, "n=3000000", true},
		{1<<63 - 1, "n=3000000&chunked", true},
	} {
		r := &transport.Reuse{Base: base(t, srv, 1), DrainBytes: c.limit, DrainTime: time.Minute}
		for range 5 {
			closeUnread(t, r, srv.URL+"/?"+c.query)
		}
		if s := r.Stats(); c.keeps {
			require.EqualValues(t, 5, s.Drained, c)
			require.EqualValues(t, 1, s.Dialed, c)
		} else {
			require.EqualValues(t, 5, s.Abandoned, c)
			require.LessOrEqual(t, s.DrainedBytes, uint64(5*(max(c.limit, -1)+1)), c)
		}
	}
}

// Below its own bounds Go 1.27 would drain behind our back.
func TestNeverMeansNever(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	for _, r := range []*transport.Reuse{{DrainBytes: -1}, {DrainTime: -1}} {
		before := srv.Conns()
		r.Base = base(t, srv, 1)
		for range 100 {
			closeUnread(t, r, srv.URL+"/?n=1000")
		}
		require.GreaterOrEqual(t, srv.Conns()-before, 95)
		require.EqualValues(t, 100, r.Stats().Abandoned)
	}
}

// A body that stalls or never ends does not keep Close, whatever its length says.
func TestCloseIsBounded(t *testing.T) {
	for _, query := range []string{"n=10&chunked&stall", "n=10&stall", "n=0&chunked&stall", "chunked&endless"} {
		t.Run(query, func(t *testing.T) {
			gone := make(chan struct{}, 3)
			srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { gone <- struct{}{} }()
				payload(w, r)
			}))
			r := &transport.Reuse{Base: base(t, srv, 1), DrainTime: 20 * time.Millisecond}
			for range 3 {
				resp := get(t, r, srv.URL+"/?"+query)
				start := time.Now()
				require.NoError(t, resp.Body.Close())
				require.Less(t, time.Since(start), 5*time.Second) // the machine may be busy; exact in the bubble below
				<-gone                                            // the connection is closed, not forgotten
			}
			require.EqualValues(t, 3, r.Stats().Abandoned)
			require.Equal(t, 3, srv.Conns())
		})
	}
}

func TestDrainTimeIsExact(t *testing.T) {
	for drainTime, want := range map[time.Duration]time.Duration{0: 50 * time.Millisecond, time.Second: time.Second, -1: 0} {
		synctest.Test(t, func(t *testing.T) {
			srv := transporttest.NewPipeServer(t, payload)
			r := &transport.Reuse{Base: base(t, srv, 1), DrainTime: drainTime}
			resp := get(t, r, srv.URL+"/?n=10&chunked&stall")
			start := time.Now()
			require.NoError(t, resp.Body.Close())
			require.Equal(t, want, time.Since(start))
			require.EqualValues(t, 1, r.Stats().Abandoned)
		})
	}
}

// A tail that is late, but not later than DrainTime, is waited for.
func TestLateTail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("head"))
			_ = http.NewResponseController(w).Flush()
			time.Sleep(80 * time.Millisecond)
			_, _ = w.Write([]byte("tail"))
		}))
		patient := &transport.Reuse{Base: base(t, srv, 1), DrainTime: 100 * time.Millisecond}
		for range 5 {
			closeUnread(t, patient, srv.URL)
		}
		srv.WantConns(1)
		hasty := &transport.Reuse{Base: base(t, srv, 1)}
		for range 5 {
			closeUnread(t, hasty, srv.URL)
		}
		require.Equal(t, 1+5, srv.Conns())
	})
}

// A decoder stops at the last byte of its value; the end of a chunked body is
// behind it.
func TestChunkedJSON(t *testing.T) {
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_ = json.NewEncoder(w).Encode(strings.Repeat("x", 300<<10))
	}))
	r := patient(t, srv)
	for range 20 {
		resp := get(t, r, srv.URL)
		var s string
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&s))
		require.NoError(t, resp.Body.Close())
	}
	srv.WantConns(1)
}

// An HTTP/2 connection stays without reading.
func TestHTTP2IsNeverDrained(t *testing.T) {
	srv := transporttest.NewHTTP2Server(t, payload)
	r := &transport.Reuse{Base: base(t, srv, 1)}
	for range 20 {
		closeUnread(t, r, srv.URL+"/?n=1000000")
		closeUnread(t, r, srv.URL+"/?n=10&chunked&stall")
	}
	srv.WantConns(1)
	s := r.Stats()
	require.Zero(t, s.Drained)
	require.Zero(t, s.DrainedBytes)
	require.Zero(t, s.Abandoned)
}

// A connection that the server ends anyway is not worth a read.
func TestEndingConnectionsAreNotDrained(t *testing.T) {
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		payload(w, r)
	}))
	r := &transport.Reuse{Base: base(t, srv, 1)}
	closeUnread(t, r, srv.URL+"/?n=10&stall")
	s := r.Stats()
	require.Zero(t, s.Drained)
	require.Zero(t, s.DrainedBytes)
	require.Zero(t, s.Abandoned)
}

// A cancelled context costs a connection, as it does without Reuse, and nothing more.
func TestCancelledContextIsNotDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, payload)
		r := &transport.Reuse{Base: base(t, srv, 1)}
		ctx, cancel := newContext(t)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/?n=10&chunked&stall", nil)
		require.NoError(t, err)
		resp, err := r.RoundTrip(req)
		require.NoError(t, err)
		cancel()
		start := time.Now()
		require.NoError(t, resp.Body.Close())
		require.Zero(t, time.Since(start))
		require.Zero(t, r.Stats().Drained)
		closeUnread(t, r, srv.URL+"/?n=10")
		require.Equal(t, 2, srv.Conns())
	})
}

func TestGzipIsDrainedDecoded(t *testing.T) {
	srv := transporttest.NewServer(t, gzipped(strings.Repeat("x", 200<<10)))
	r := patient(t, srv)
	for range 20 {
		closeUnread(t, r, srv.URL)
	}
	srv.WantConns(1)
	require.EqualValues(t, 20*200<<10, r.Stats().DrainedBytes)

	bomb := transporttest.NewServer(t, gzipped(strings.Repeat("x", 1<<20)))
	r = patient(t, bomb)
	closeUnread(t, r, bomb.URL)
	require.EqualValues(t, 1, r.Stats().Abandoned)
	require.LessOrEqual(t, r.Stats().DrainedBytes, uint64(256<<10+1))
}

// The length of an answer that Base decoded says nothing of what is left.
func TestUncompressedHasNoLength(t *testing.T) {
	r := &transport.Reuse{Base: roundTrip(func(*http.Request) (*http.Response, error) {
		body := io.NopCloser(strings.NewReader("decoded"))
		return &http.Response{StatusCode: http.StatusOK, ProtoMajor: 1, ContentLength: 1 << 30, Uncompressed: true, Body: body}, nil
	})}
	closeUnread(t, r, "http://fake.test")
	require.EqualValues(t, 1, r.Stats().Drained)
}

func TestDrainClose(t *testing.T) {
	srv := transporttest.NewServer(t, payload)
	tr := base(t, srv, 1)
	for range 50 {
		require.NoError(t, transport.DrainClose(get(t, tr, srv.URL+"/?n=100000").Body))
		require.NoError(t, transport.DrainClose(get(t, tr, srv.URL+"/?n=100000&chunked").Body))
		require.NoError(t, transport.DrainClose(get(t, tr, srv.URL+"/?n=0").Body))
	}
	srv.WantConns(1)
	require.NoError(t, transport.DrainClose(nil))
	require.NoError(t, transport.DrainClose(http.NoBody))

	for _, query := range []string{"n=10&stall", "n=10&chunked&stall", "chunked&endless"} {
		body := get(t, tr, srv.URL+"/?"+query).Body
		start := time.Now()
		_ = transport.DrainClose(body) // net/http has an error for a body that ends beside a Read
		require.Less(t, time.Since(start), 5*time.Second)
	}
}

func TestDrainCloseIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		start := time.Now()
		require.NoError(t, transport.DrainClose(r))
		require.Equal(t, 50*time.Millisecond, time.Since(start))
		_, err := w.Write([]byte("x"))
		require.ErrorIs(t, err, io.ErrClosedPipe)
	})
	endless := &countingBody{}
	require.NoError(t, transport.DrainClose(endless))
	require.LessOrEqual(t, endless.read, int64(256<<10+1))
	require.Equal(t, 1, endless.closed)
}

// countingBody never ends.
type countingBody struct {
	read   int64
	closed int
}

func (b *countingBody) Read(p []byte) (int, error) {
	b.read += int64(len(p))
	return len(p), nil
}

func (b *countingBody) Close() error {
	b.closed++
	return nil
}

// A body that panics does so where a caller can recover it, and one that goes on with
// neither a byte nor an error keeps no goroutine.
func TestDrainCloseOfBrokenBodies(t *testing.T) {
	var closed atomic.Int32
	broken := &brokenBody{closed: &closed, read: func() (int, error) { panic("broken") }}
	require.PanicsWithValue(t, "broken", func() { _ = transport.DrainClose(broken) })
	stuck := &brokenBody{closed: &closed, read: func() (int, error) { return 0, nil }}
	require.NoError(t, transport.DrainClose(stuck)) // goleak finds a goroutine that still reads
	require.EqualValues(t, 2, closed.Load())
}

type brokenBody struct {
	closed *atomic.Int32
	read   func() (int, error)
}

func (b *brokenBody) Read([]byte) (int, error) { return b.read() }
func (b *brokenBody) Close() error             { b.closed.Add(1); return nil }
