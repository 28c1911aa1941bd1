package transport_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// A sender ships batches of samples to a remote-write endpoint, some at once.
type sender struct {
	client *http.Client
	url    string
}

func newSender(url string, inFlight int) *sender {
	return &sender{url: url, client: &http.Client{Transport: &transport.Reuse{
		Base:    transport.New(inFlight),
		Timeout: 30 * time.Second,
	}}}
}

// errLater says that the same batch may be accepted later. The package backoff of
// this module finds RetryAfter in an error.
type errLater struct {
	status string
	after  time.Duration
}

func (e *errLater) Error() string             { return e.status }
func (e *errLater) RetryAfter() time.Duration { return e.after }

func (s *sender) send(ctx context.Context, batch []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, bytes.NewReader(batch))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	transport.MarkRetryable(req) // the server knows a sample that it has by its time stamp
	resp, err := s.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() // on every path, and enough on every path
	switch {
	case resp.StatusCode < 300:
		return nil
	case resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode >= 500:
		after, _ := transport.RetryAfter(resp.Header)
		return &errLater{resp.Status, after}
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 24)) // servers have much to say
	return fmt.Errorf("%s: %s", resp.Status, text)
}

// A remote-write sender: it closes each body and reads hardly any, and all of its
// batches share a connection, the refused ones too.
func Example_remoteWrite() {
	server := transporttest.NewServer(new(testing.T), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch batch, _ := io.ReadAll(r.Body); string(batch) {
		case "too soon":
			transport.SetRetryAfter(w.Header(), 1500*time.Millisecond)
			http.Error(w, "the ingester is behind", http.StatusTooManyRequests)
		case "too old":
			http.Error(w, "sample is out of bounds: "+strings.Repeat("series ", 10_000), http.StatusBadRequest)
		default:
			_, _ = io.WriteString(w, "accepted")
		}
	}))
	defer server.Close()

	s := newSender(server.URL, 8)
	defer s.client.CloseIdleConnections()
	for _, batch := range []string{"samples", "too soon", "too old", "samples"} {
		err := s.send(context.Background(), []byte(batch))
		fmt.Println(batch+":", err)
		var later *errLater
		if errors.As(err, &later) {
			fmt.Println("again in", later.RetryAfter())
		}
	}
	fmt.Println(server.Requests(), "requests,", server.Conns(), "connection")
	// Output:
	// samples: <nil>
	// too soon: 429 Too Many Requests
	// again in 1.5s
	// too old: 400 Bad Request: sample is out of bounds:
	// samples: <nil>
	// 4 requests, 1 connection
}
