package listener_test

import (
	"errors"
	"net"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/listener"
)

// FuzzGateOnSockets opens and shuts a gate in any order. Clients are refused
// exactly while it is not open, and none is left without an answer.
func FuzzGateOnSockets(f *testing.F) {
	f.Add(true, []byte{2, 0, 2, 3, 1, 2, 0, 0, 3, 2, 1, 1, 2, 4, 0, 1})
	f.Add(false, []byte{2, 0, 2, 3, 1, 2, 0, 0, 3, 2, 1, 1, 2, 4, 0, 1})
	f.Add(false, []byte{0, 2, 2, 2, 1, 0, 3, 1, 0, 2, 4})
	f.Fuzz(func(t *testing.T, tcp bool, script []byte) {
		network, address := "unix", filepath.Join(t.TempDir(), "s")
		if tcp {
			network, address = "tcp", "127.0.0.1:0"
		}
		g, err := listener.Reserve(t.Context(), network, address)
		if err != nil {
			t.Fatal(err)
		}
		var waiting []net.Conn // connected and not accepted
		for _, op := range script[:min(len(script), 100)] {
			waiting = gateStep(t, g, op%5, waiting)
		}
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		allCut(t, waiting)
	})
}

func gateStep(t *testing.T, g *listener.Gate, op byte, waiting []net.Conn) []net.Conn {
	state := g.State()
	var err error
	switch op {
	case 0:
		err = g.Open(t.Context())
	case 1:
		err = g.Shut()
		allCut(t, waiting)
		waiting = nil
	case 2:
		if state == listener.Done {
			return waiting // the port is anybody's
		}
		c, err := net.Dial(g.Addr().Network(), g.Addr().String())
		if refused := errors.Is(err, syscall.ECONNREFUSED); refused != (state == listener.Closed) {
			t.Fatalf("dial of a gate that is %v: %v", state, err)
		}
		if err == nil {
			waiting = append(waiting, c)
		}
		return waiting
	case 3:
		if state == listener.Closed || state == listener.Opened && len(waiting) == 0 {
			return waiting // would wait
		}
		c, err := g.Accept()
		if err == nil {
			hangUp(waiting[0])
			_ = c.Close()
			return waiting[1:]
		}
		if state != listener.Done || !errors.Is(err, net.ErrClosed) {
			t.Fatalf("Accept of a gate that is %v: %v", state, err)
		}
		return waiting
	case 4:
		if err := g.Close(); err != nil {
			t.Fatal(err)
		}
		allCut(t, waiting)
		return nil
	}
	if errors.Is(err, net.ErrClosed) != (state == listener.Done) || err != nil && state != listener.Done {
		t.Fatalf("gate that was %v: %v", state, err)
	}
	return waiting
}

// allCut closes clients that the server has cut.
func allCut(t *testing.T, clients []net.Conn) {
	for _, c := range clients {
		_ = c.SetReadDeadline(time.Now().Add(time.Minute))
		_, err := c.Read(make([]byte, 1))
		var ne net.Error
		if err == nil || errors.As(err, &ne) && ne.Timeout() {
			t.Fatalf("a client was forgotten: %v", err)
		}
		_ = c.Close()
	}
}
