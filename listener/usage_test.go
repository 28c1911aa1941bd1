package listener_test

import (
	"context"
	"net/http"

	"github.com/connhygiene/connhygiene/listener"
)

// What the package comment shows. Its ports may be taken, so it is not run.
var _ = func(ctx context.Context, handler http.Handler, sigterm chan struct{}) error {
	l, err := listener.ListenTwoPhase(ctx, "tcp", "127.0.0.1:17071", ":17070", listener.Limits{MaxPending: 20})
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: handler, ConnState: listener.ConnState}
	defer srv.Close()
	end := listener.HTTPEnd(srv, 0)
	go srv.Serve(l)
	// check yourself at l.Private.Addr(), and when all is well:
	if err := l.Open(ctx); err != nil {
		return err
	}
	<-sigterm
	// at half the pace at which other replicas can log clients in:
	if err := l.Public.Drain(ctx, 50, end); err != nil {
		return err
	}
	return srv.Shutdown(ctx)
}
