package transport_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/transport"
)

// The body of a request that fails before it was read is closed, and only once.
func TestUploadIsClosedOnce(t *testing.T) {
	for name, base := range map[string]http.RoundTripper{
		"refused": &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return nil, io.ErrNoProgress }},
		"ignored": roundTrip(func(req *http.Request) (*http.Response, error) { return nil, req.Body.Close() }),
		"resent": roundTrip(func(req *http.Request) (*http.Response, error) {
			for range 3 { // as net/http does if a connection was lost before the body was read
				if err := req.Body.Close(); err != nil {
					return nil, err
				}
				again, err := req.GetBody()
				if err != nil {
					return nil, err
				}
				req.Body = again
			}
			if text, _ := io.ReadAll(req.Body); string(text) != "unread" {
				return nil, errors.New(string(text))
			}
			if _, err := req.GetBody(); err == nil {
				return nil, errors.New("sent half of it again")
			}
			return nil, req.Body.Close()
		}),
	} {
		t.Run(name, func(t *testing.T) {
			body := &closer{Reader: strings.NewReader("unread")}
			req, err := http.NewRequest(http.MethodPost, "http://fake.test", body)
			require.NoError(t, err)
			r := &transport.Reuse{Base: base, MaxConnAge: time.Hour}
			_, err = r.RoundTrip(req) //nolint:bodyclose // there is none
			require.Error(t, err)
			require.Equal(t, 1, body.closed)
		})
	}
}

// closer counts Close.
type closer struct {
	io.Reader
	closed int
}

func (c *closer) Close() error {
	c.closed++
	return nil
}
