package storm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"

	"github.com/connhygiene/connhygiene/listener"
)

// Footprint is what connected agents cost the server of this experiment, in live
// heap and stacks after a collection. The agents' ends, bare sockets in the same
// process, are included.
type Footprint struct {
	Agents int   // Agents is how many were connected.
	Idle   int64 // Idle is how many bytes each costs that keeps its connection alive.
	Stream int64 // Stream is how many bytes each costs that holds a stream.
}

// mostMeasured is enough for an average.
const mostMeasured = 1000

// Measure connects as many agents as c has, up to a thousand, to a server on
// loopback and returns what they cost. Nothing else should run in the process.
func Measure(ctx context.Context, c Config) (Footprint, error) {
	c.Memory = false
	if err := c.Validate(); err != nil {
		return Footprint{}, err
	}
	n := min(c.Agents, mostMeasured)
	p, err := newLoopback(ctx, "")
	if err != nil {
		return Footprint{}, err
	}
	s, err := newServer(ctx, p, newMeter(), life{auth: known{}, limits: listener.Limits{MaxPending: n}})
	if err != nil {
		return Footprint{}, errors.Join(err, p.close())
	}
	defer func() { _ = s.kill() }()
	if err := s.gate.Open(ctx); err != nil {
		return Footprint{}, err
	}
	return footprint(ctx, n, p)
}

func footprint(ctx context.Context, n int, p place) (Footprint, error) {
	var conns []net.Conn
	defer func() {
		for _, conn := range conns {
			_ = conn.Close()
		}
	}()
	before := inUse()
	for range n {
		conn, err := p.dial(ctx, "tcp", publicHost)
		if err != nil {
			return Footprint{}, err
		}
		conns = append(conns, conn)
		if err := ask(conn, "/healthz"); err != nil {
			return Footprint{}, err
		}
	}
	idle := inUse()
	for _, conn := range conns {
		if err := ask(conn, "/stream"); err != nil {
			return Footprint{}, err
		}
	}
	stream := inUse()
	return Footprint{Agents: n, Idle: (idle - before) / int64(n), Stream: (stream - before) / int64(n)}, nil
}

// ask sends a request and reads the head of its answer.
func ask(conn net.Conn, path string) error {
	if _, err := fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, publicHost); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("storm: %s", resp.Status)
	}
	return nil // the body of a stream has no end
}

// inUse is how many bytes of heap and stacks are in use. The second collection
// empties what the first kept in pools.
func inUse() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}
