package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// halting answers in three pieces, with pauses as the query says: before the header,
// "header", and before each of the others, "body"; with "hints" it sends one of status
// 103 in each half of the first pause.
var halting = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	pause := func(name string) {
		d, _ := time.ParseDuration(r.URL.Query().Get(name))
		if r.URL.Query().Has("hints") && name == "header" {
			for range 3 {
				<-time.After(d / 4)
				w.WriteHeader(http.StatusEarlyHints)
			}
			d /= 4
		}
		select {
		case <-time.After(d):
		case <-r.Context().Done():
		}
	}
	_, _ = io.Copy(io.Discard, r.Body)
	pause("header")
	for range 3 {
		_, _ = io.WriteString(w, "piece")
		_ = http.NewResponseController(w).Flush()
		pause("body")
	}
})

func TestSilence(t *testing.T) {
	for _, c := range []struct {
		query   string
		silence time.Duration
		fails   time.Duration // when, 0 never
	}{
		{"header=1h", time.Second, time.Second},
		{"header=900ms&body=900ms", time.Second, 0},
		{"header=900ms&body=1h", time.Second, 1900 * time.Millisecond},
		{"header=3s&hints", time.Second, 0}, // four times 750ms
		{"header=1h&body=1h", 0, 0},
		{"header=1h&body=1h", -time.Second, 0},
	} {
		t.Run(c.query, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := transporttest.NewPipeServer(t, halting)
				r := &transport.Reuse{Base: base(t, srv, 1), Silence: c.silence}
				start := time.Now()
				resp, err := r.RoundTrip(newRequest(t, srv.URL+"/?"+c.query))
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					require.NoError(t, resp.Body.Close())
				}
				if c.fails == 0 {
					require.NoError(t, err)
					return
				}
				require.Equal(t, c.fails, time.Since(start))
				require.ErrorContains(t, err, "transport: no byte of the answer for 1s")
				require.ErrorIs(t, err, context.DeadlineExceeded)
				var timeout net.Error
				require.ErrorAs(t, err, &timeout)
				require.True(t, timeout.Timeout())
			})
		})
	}
}

// It counts while the body is read, and not while the caller does something else.
func TestSilenceOfTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, halting)
		r := &transport.Reuse{Base: base(t, srv, 1), Silence: time.Second}
		resp := get(t, r, srv.URL)
		piece := make([]byte, 5)
		for range 3 {
			time.Sleep(time.Hour)
			_, err := io.ReadFull(resp.Body, piece)
			require.NoError(t, err)
		}
		time.Sleep(time.Hour)
		_, err := resp.Body.Read(piece)
		require.ErrorIs(t, err, io.EOF)
		require.NoError(t, resp.Body.Close())
	})
}

// slowUpload is a request's body that takes its time.
type slowUpload struct {
	left  int
	pause time.Duration
}

func (u *slowUpload) Read(p []byte) (int, error) {
	if u.left == 0 {
		return 0, io.EOF
	}
	time.Sleep(u.pause)
	u.left--
	return copy(p, "x"), nil
}

// An upload that goes on is no silence, however long it takes; one that stops is.
func TestSilenceOfAnUpload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := transporttest.NewPipeServer(t, halting)
		r := &transport.Reuse{Base: base(t, srv, 1), Silence: time.Second}
		for _, pause := range []time.Duration{900 * time.Millisecond, 1100 * time.Millisecond} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL, &slowUpload{10, pause})
			require.NoError(t, err)
			resp, err := r.RoundTrip(req)
			if pause > time.Second {
				require.ErrorContains(t, err, "no byte of the answer for 1s")
				synctest.Wait()
				time.Sleep(time.Minute) // the last Read ends
				continue
			}
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
		}
	})
}

// A redirect that has the body sent again has it watched again.
func TestSilenceSendsABodyAgain(t *testing.T) {
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusPermanentRedirect)
			return
		}
		_, _ = io.Copy(w, r.Body)
	}))
	client := &http.Client{Transport: &transport.Reuse{Base: base(t, srv, 1), Silence: time.Minute}}
	resp, err := client.Post(srv.URL, "text/plain", strings.NewReader("again"))
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "again", string(body))
}

// The wait for a connection counts as well, and the caller's own end stays the caller's.
func TestSilenceOfADial(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := transport.New(1)
		tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(time.Minute) // net/http does not end a dial with its request
			return nil, errors.New("nobody there")
		}
		r := &transport.Reuse{Base: tr, Silence: time.Second}
		start := time.Now()
		require.ErrorContains(t, try(r, "http://nowhere.test", time.Minute), "no byte of the answer for 1s")
		require.Equal(t, time.Second, time.Since(start))

		ctx, cancel := context.WithCancelCause(t.Context())
		lost := errors.New("lost interest")
		time.AfterFunc(time.Second/2, func() { cancel(lost) })
		_, err := r.RoundTrip(newRequest(t, "http://nowhere.test").WithContext(ctx)) //nolint:bodyclose // there is none
		require.ErrorIs(t, err, lost)
		time.Sleep(2 * time.Minute)
	})
}
