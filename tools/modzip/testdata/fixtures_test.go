package consumer_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/dbpool"
	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
	"github.com/connhygiene/connhygiene/transport"
	"github.com/connhygiene/connhygiene/transport/transporttest"
	"github.com/connhygiene/connhygiene/ttlcache"
)

// What a user of the published module writes: a test with each fixture and package,
// and nothing but the standard library beside them.

func TestListenerFixture(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := listenertest.New()
		throttled := listener.Throttle(l, listener.Limits{MaxPending: 1})
		defer throttled.Close()
		client, err := l.Dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := throttled.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if !listener.Admit(conn) || throttled.Stats().Pending != 0 {
			t.Fatalf("not admitted: %+v", throttled.Stats())
		}
	})
}

func TestTransportFixture(t *testing.T) {
	srv := transporttest.NewServer(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	}))
	client := &http.Client{Transport: &transport.Reuse{Base: srv.Client().Transport}}
	transporttest.Check(t, client)
	for range 10 {
		resp, err := client.Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
	}
	srv.WantConns(1)
}

func TestPoolFixture(t *testing.T) {
	srv := &dbpooltest.Server{MaxConns: 5}
	db, err := dbpool.Open(srv.Connector(), dbpool.Server(5))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n, err := dbpool.Warm(t.Context(), db, 5); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if open := srv.Stats().Open; open != 5 {
		t.Fatalf("%d connections", open)
	}
}

func TestCacheAndBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		cache := ttlcache.New(func(context.Context, string) (string, error) {
			if asked++; asked < 3 {
				return "", errors.New("not yet")
			}
			return "alice", nil
		}, ttlcache.Config[string, string]{TTL: time.Minute})
		for range 2 {
			who, err := backoff.Retry(t.Context(), backoff.Policy{}, func(ctx context.Context) (string, error) {
				return cache.Get(ctx, "token")
			})
			if who != "alice" || err != nil {
				t.Fatal(who, err)
			}
		}
		if asked != 3 {
			t.Fatalf("asked %d times", asked)
		}
	})
}
