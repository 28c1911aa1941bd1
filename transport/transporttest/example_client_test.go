package transporttest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
)

// A catalog is what is to be tested: the client of some service.
type catalog struct {
	client *http.Client
	url    string
}

// newCatalog returns one that sends through base.
func newCatalog(url string, base http.RoundTripper) *catalog {
	return &catalog{client: &http.Client{Transport: &transport.Reuse{Base: base}}, url: url}
}

func (c *catalog) price(ctx context.Context, item string) (cents int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url+"/price/"+item, nil)
	if err != nil {
		return 0, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, fmt.Errorf("%s: %s", item, resp.Status) // the body is not read
	}
	err = json.NewDecoder(resp.Body).Decode(&cents)
	return cents, err
}

// shop has a price for one thing and an explanation for all others.
func shop(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/price/tea" {
		http.Error(w, "there is no such item", http.StatusNotFound)
		return
	}
	fmt.Fprintln(w, 250)
}

// keepsItsConnection would be called TestCatalogKeepsItsConnection.
func keepsItsConnection(t *testing.T) {
	srv := transporttest.NewPipeServer(t, http.HandlerFunc(shop))
	c := newCatalog(srv.URL, srv.Client().Transport)
	transporttest.Check(t, c.client)
	for range 5 {
		cents, err := c.price(t.Context(), "tea")
		if cents != 250 || err != nil {
			t.Errorf("tea: %d, %v", cents, err)
		}
		if _, err := c.price(t.Context(), "coffee"); err == nil {
			t.Error("coffee has a price")
		}
	}
	srv.WantConns(1)
	fmt.Println(srv.Requests(), "requests,", srv.Conns(), "connection")
}

// A test of one's own client: that it keeps its connection on every path, the
// failing one too, and leaves no body open.
func Example() {
	synctest.Test(new(testing.T), keepsItsConnection) // go test runs a test by itself
	// Output: 10 requests, 1 connection
}
