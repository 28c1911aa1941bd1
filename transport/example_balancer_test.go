package transport_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// newServiceClient returns the client of a service that stands behind a load
// balancer or a DNS name with several addresses, for so many requests in flight.
// A connection lives for 45 to 60 seconds, so that servers that were added get
// their share and those that were taken away lose theirs. Over HTTP/2 each retired
// connection is replaced by one, however many requests wait for it.
func newServiceClient(inFlight int) (*http.Client, *http.Transport) {
	base := transport.New(inFlight)
	return &http.Client{Transport: &transport.Reuse{
		Base:       base,
		MaxConnAge: time.Minute,
		ColdStart:  true,
		Timeout:    10 * time.Second,
	}}, base
}

// A balancer hands each new connection to the next server.
type balancer struct {
	servers []*transporttest.Server
	next    int
}

func (b *balancer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	server := b.servers[b.next%len(b.servers)]
	b.next++
	return server.Client().Transport.(*http.Transport).DialContext(ctx, network, addr)
}

// A client that asks once a second never lets its connection go: behind a load
// balancer it stays with the server that it met first. With a maximum age it goes
// round. In a testing/synctest bubble ten minutes pass at once.
func Example_loadBalancer() {
	synctest.Test(new(testing.T), func(t *testing.T) {
		handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") })
		b := &balancer{servers: []*transporttest.Server{
			transporttest.NewPipeServer(t, handler),
			transporttest.NewPipeServer(t, handler),
			transporttest.NewPipeServer(t, handler),
		}}
		client, base := newServiceClient(8)
		base.DialContext = b.dial // a program dials the load balancer
		defer client.CloseIdleConnections()

		failed := 0
		for range 600 {
			resp, err := client.Get("http://service.test")
			if err != nil {
				failed++
				continue
			}
			_ = resp.Body.Close()
			time.Sleep(time.Second)
		}
		for i, server := range b.servers {
			fmt.Printf("server %d: a share is served: %v, few connections: %v\n",
				i+1, server.Requests() > 100, server.Conns() <= 5)
		}
		fmt.Println(failed, "requests failed")
	})
	// Output:
	// server 1: a share is served: true, few connections: true
	// server 2: a share is served: true, few connections: true
	// server 3: a share is served: true, few connections: true
	// 0 requests failed
}
