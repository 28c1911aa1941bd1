package listener_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// readiness answers a load balancer: 200 while agents are let in.
type readiness struct{ gate *listener.Gate }

func (r readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	state := r.gate.State()
	if state != listener.Opened {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprintln(w, state)
}

// A readiness endpoint, on the private port, of what the public one does.
func Example_readiness() {
	gate := listener.NewGate(listenertest.New())
	defer gate.Close()
	probe := func() {
		w := httptest.NewRecorder()
		readiness{gate}.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/readyz", nil))
		fmt.Print(w.Code, " ", w.Body)
	}
	probe()
	_ = gate.Open(context.Background())
	probe()
	_ = gate.Shut()
	probe()
	// Output:
	// 503 closed
	// 200 opened
	// 503 closed
}
