package redistier

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A Tier is a ttlcache.Tier on Redis. All methods may be called from any number of
// goroutines.
type Tier struct {
	config Config // resolved
	names  names
	member string // of this replica
	clock  clock
	maxLog int // entries of the log

	ctx  context.Context // ends with Close
	stop context.CancelFunc
	work sync.WaitGroup // what uses the client

	mu      sync.Mutex // guards the fields below, and is held to begin work
	client  rueidis.Client
	dialing *dialing
	failed  time.Time // when the last dial did
	why     error
	closed  bool
}

// names are those of the keys that there is one of each.
type names struct{ era, log, replicas, value, lease string }

// A dialing is an attempt to connect, and those who wait for it.
type dialing struct {
	done   chan struct{}
	client rueidis.Client
	err    error
}

// maxLog bounds the log, whatever is revoked in an hour: some 20 MB.
const maxLog = 100_000

// redialAfter is how long nobody tries to connect after a failure. The client connects
// again by itself once it has been connected.
const redialAfter = 200 * time.Millisecond

// New returns a Tier, which connects when it is first used. It returns an error if c
// contradicts itself. Close it when it is no longer needed.
func New(c Config) (*Tier, error) {
	c, err := c.resolve()
	if err != nil {
		return nil, err
	}
	tag := "{" + c.Prefix + "}:"
	t := &Tier{
		config: c,
		names:  names{tag + "era", tag + "log", tag + "replicas", tag + "v:", tag + "l:"},
		member: randomName(),
		maxLog: maxLog,
	}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t, nil
}

var errClosed = fmt.Errorf("redistier: the tier is closed: %w", net.ErrClosed)

// Close ends every operation and waits for it, and then ends the connections. With a
// server that does not answer that takes up to four seconds, of a connection that is being
// made. Close must not be called by the function that was given to Follow. A second one does
// nothing.
func (t *Tier) Close() {
	t.stop()
	t.mu.Lock()
	client, dial := t.client, t.dialing
	t.client, t.closed = nil, true
	t.mu.Unlock()
	if dial != nil {
		<-dial.done
	}
	t.work.Wait() // rueidis keeps a connection that is made while it is closed
	if client != nil {
		client.Close()
	}
}

// connect returns the client, and dials if there is none yet.
func (t *Tier) connect(ctx context.Context) (rueidis.Client, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	t.mu.Lock()
	switch {
	case t.closed:
		t.mu.Unlock()
		return nil, errClosed
	case t.client != nil:
		defer t.mu.Unlock()
		return t.client, nil
	case t.dialing == nil && time.Since(t.failed) < redialAfter && t.why != nil:
		defer t.mu.Unlock()
		return nil, t.why
	}
	d := t.dialing
	if d == nil {
		d = &dialing{done: make(chan struct{})}
		t.dialing = d
		go t.dial(d)
	}
	t.mu.Unlock()
	select {
	case <-d.done:
		return d.client, d.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (t *Tier) dial(d *dialing) {
	defer close(d.done)
	client, err := rueidis.NewClient(t.config.Option)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.dialing = nil
	switch {
	case err != nil:
		d.err = fmt.Errorf("redistier: connect: %w", err)
		t.failed, t.why = time.Now(), d.err
	case t.closed:
		client.Close()
		d.err = errClosed
	default:
		d.client, t.client = client, client
	}
}

// during returns a context that ends with ctx, and with t.
func (t *Tier) during(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(t.ctx, func() { cancel(errClosed) })
	return ctx, func() { unhook(); cancel(nil) }
}

// use returns the client, and a context that ends with ctx and with t. Close waits until
// done was called.
func (t *Tier) use(ctx context.Context) (client rueidis.Client, _ context.Context, done func(), err error) {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil, nil, nil, errClosed
	}
	t.work.Add(1)
	t.mu.Unlock()
	ctx, end := t.during(ctx)
	done = func() { end(); t.work.Done() }
	if client, err = t.connect(ctx); err != nil {
		done()
		return nil, nil, nil, err
	}
	return client, ctx, done, nil
}
