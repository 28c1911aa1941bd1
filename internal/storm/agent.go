package storm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
	"github.com/connhygiene/connhygiene/transport"
)

// loop decides when an agent comes back. *backoff.Backoff is one.
type loop interface {
	Next(ctx context.Context) bool
	Up()
	Fail(err error)
}

var (
	_ loop = (*backoff.Backoff)(nil)
	_ loop = (*plainLoop)(nil)
)

// agent is one client with one stream.
type agent struct {
	id     int
	loop   loop
	client *http.Client
	meter  *meter

	// setWindow obeys a server that announces how long its fleet needs to come
	// back. Nil ignores what servers announce.
	setWindow func(time.Duration)
	// patience is how long the agent waits for the answer to one attempt.
	patience time.Duration
	// deaf ignores hints.
	deaf bool
	// plain closes the connection of an attempt that failed, as gRPC does.
	plain bool
}

// newPlainAgent is an agent that has never heard of this library: Go's default
// transport and a loop of its own.
func newPlainAgent(id int, r *run, jitter float64) *agent {
	l := &plainLoop{jitter: jitter, random: r.config.draws(id).Float64}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil
	t.DialContext = func(ctx context.Context, network, host string) (net.Conn, error) {
		conn, err := r.place.dial(ctx, network, host)
		if err == nil {
			l.connected()
		}
		return conn, err
	}
	return &agent{id: id, loop: l, client: &http.Client{Transport: t}, meter: r.meter, patience: r.config.patience(), plain: true}
}

// newLibraryAgent is an agent that uses backoff and transport.
func newLibraryAgent(id int, r *run, b *backoff.Backoff) *agent {
	t := transport.New(1)
	t.Proxy = nil
	t.DialContext = r.place.dial
	a := &agent{
		id: id, loop: b, client: &http.Client{Transport: &transport.Reuse{Base: t}},
		meter: r.meter, patience: r.config.patience(), deaf: r.config.deaf(id),
	}
	if !a.deaf {
		a.setWindow = b.SetWindow
	}
	return a
}

// token is unique to the agent, so that nothing can be coalesced.
func token(id int) string { return fmt.Sprintf("agent-%d", id) }

// patience is how long an agent waits for the answer to one attempt, unless the
// adversity says otherwise. It is longer
// than the queue of any fleet whose bound is below it; of a larger one, some ask
// twice. A client that leaves the line earlier needs a server that knows, see
// listener.Limits.Patience.
const patience = time.Minute

// run is the whole agent: come back, hold the stream, lose it.
func (a *agent) run(ctx context.Context) {
	defer a.client.CloseIdleConnections()
	for a.loop.Next(ctx) {
		a.loop.Fail(a.session(ctx))
	}
}

// session is one attempt and, if it succeeds, the stream until its end.
func (a *agent) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	impatient := time.AfterFunc(a.patience, func() { cancel(errImpatient) })
	defer impatient.Stop()

	a.meter.attempted()
	resp, err := a.client.Do(a.request(ctx))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return a.refusal(resp)
	}
	impatient.Stop()
	a.loop.Up()
	a.heed(resp.Header)
	a.meter.streaming(a.id)
	err = a.listen(ctx, resp.Body)
	if ctx.Err() == nil { // else it is the experiment that has ended
		a.meter.lost(a.id)
	}
	return err
}

var (
	errImpatient = errors.New("storm: no answer within the agent's patience")
	errLost      = errors.New("storm: stream lost")
)

func (a *agent) request(ctx context.Context) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+publicHost+"/stream", nil)
	if err != nil {
		panic(err) // the URL is a constant
	}
	req.Header.Set("Authorization", token(a.id))
	req.Close = a.plain
	return req
}

// refusal keeps what the server said about when to come back.
func (a *agent) refusal(resp *http.Response) error {
	err := fmt.Errorf("storm: %s", resp.Status)
	if d, ok := transport.RetryAfter(resp.Header); ok && !a.deaf {
		return backoff.After(d, err)
	}
	return err
}

// listen reads the stream to its end. A cooperating agent that is told of a
// restart is away for as long as it takes.
func (a *agent) listen(ctx context.Context, stream io.Reader) error {
	lines := bufio.NewScanner(stream)
	for lines.Scan() {
		if down, window, ok := parseNotice(lines.Text()); ok && a.setWindow != nil {
			a.setWindow(window)
			sleep(ctx, down)
		}
	}
	return errors.Join(errLost, lines.Err())
}

// notice is what a server tells its agents before it restarts: for how long, and
// how long they need to come back.
func notice(down, window time.Duration) string {
	return fmt.Sprintf("restart %d %d", down.Milliseconds(), window.Milliseconds())
}

func parseNotice(line string) (down, window time.Duration, ok bool) {
	var d, w int64
	if _, err := fmt.Sscanf(line, "restart %d %d", &d, &w); err != nil {
		return 0, 0, false
	}
	return time.Duration(d) * time.Millisecond, time.Duration(w) * time.Millisecond, true
}

// windowHeader of a stream's answer announces the window, in milliseconds, to
// agents that are connected: a crash leaves no time to do so.
const windowHeader = "Reconnect-Window-Ms"

func (a *agent) heed(h http.Header) {
	ms, err := strconv.ParseInt(h.Get(windowHeader), 10, 64)
	if err == nil && a.setWindow != nil {
		a.setWindow(time.Duration(ms) * time.Millisecond)
	}
}

// plainLoop is the reconnect loop of the incident: 1s growing by half to 15s,
// jittered around the delay, and forgotten as soon as TCP is connected, before
// the server has said whether it will have the agent (as in grpc-go).
type plainLoop struct {
	jitter   float64
	random   func() float64
	failures atomic.Int32
	begun    bool
}

const (
	plainMin    = time.Second
	plainMax    = 15 * time.Second
	plainFactor = 1.5
)

func (l *plainLoop) Next(ctx context.Context) bool {
	if !l.begun {
		l.begun = true
		return ctx.Err() == nil
	}
	return sleep(ctx, l.delay())
}

// delay is capped before it is jittered, as it was.
func (l *plainLoop) delay() time.Duration {
	d := float64(plainMin)
	for range l.failures.Load() - 1 {
		d = min(d*plainFactor, float64(plainMax))
	}
	return time.Duration(d * (1 + l.jitter*(2*l.random()-1)))
}

func (l *plainLoop) Up()        {}
func (l *plainLoop) Fail(error) { l.failures.Add(1) }
func (l *plainLoop) connected() { l.failures.Store(0) }

// sleep waits for d and reports whether ctx is still alive.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
