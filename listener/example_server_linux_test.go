package listener_test

import (
	"context"
	"fmt"
	"net"
	"net/http"

	"github.com/connhygiene/connhygiene/listener"
)

// api is a server whose agents all come back at once when it restarts.
type api struct {
	http     http.Server
	listener *listener.TwoPhase
}

// newAPI reserves both ports; agents are refused until open.
func newAPI(ctx context.Context, private, public string) (*api, error) {
	l, err := listener.ListenTwoPhase(ctx, "tcp", private, public, listener.Limits{MaxPending: 20})
	if err != nil {
		return nil, err
	}
	a := &api{listener: l}
	a.http.ConnContext = listener.ConnContext
	a.http.Handler = a.routes()
	return a, nil
}

func (a *api) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /agent", func(w http.ResponseWriter, r *http.Request) {
		// ... log the agent in, then:
		listener.AdmitContext(r.Context())
		fmt.Fprint(w, "welcome")
	})
	return mux
}

// run serves until ctx ends.
func (a *api) run(ctx context.Context, ready func(agents net.Addr)) error {
	served := make(chan error, 1)
	go func() { served <- a.http.Serve(a.listener) }()
	if err := reach("http://" + a.listener.Private.Addr().String() + "/healthz"); err != nil {
		return err
	}
	if err := a.listener.Open(ctx); err != nil {
		return err
	}
	ready(a.listener.Addr())
	<-ctx.Done()
	err := a.http.Shutdown(context.Background())
	<-served
	return err
}

func reach(url string) error {
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	fmt.Println(resp.Status)
	return resp.Body.Close()
}

// An http.Server with a private port, through which it checks itself, and a public
// one that opens after that and takes no more agents than can log in.
func Example_server() {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	a, err := newAPI(ctx, "127.0.0.1:0", "127.0.0.1:0")
	if err != nil {
		fmt.Println(err)
		return
	}
	err = a.run(ctx, func(agents net.Addr) {
		_ = reach("http://" + agents.String() + "/agent")
		stop()
	})
	fmt.Println(err)
	// Output:
	// 200 OK
	// 200 OK
	// <nil>
}
