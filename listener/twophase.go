package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// TwoPhase is a server's pair of ports: a private one, open from the beginning and
// never limited, through which the server reaches itself; and a public one that
// opens when it is ready. It is Merge(Private, Public) with Public a Throttle of
// Gate.
type TwoPhase struct {
	Private net.Listener // Private is nil if there is one phase.
	Gate    *Gate        // Gate is the public port; Open and Shut are its methods.
	Public  *Throttled   // Public is Gate within its limits; SetLimits and Stats are its methods.

	merged *Merged
}

var _ net.Listener = (*TwoPhase)(nil)

// ListenTwoPhase is [Config.ListenTwoPhase] of the zero Config.
func ListenTwoPhase(ctx context.Context, network, private, public string, lim Limits) (*TwoPhase, error) {
	return Config{}.ListenTwoPhase(ctx, network, private, public, lim)
}

// ListenTwoPhase listens at the private address and reserves the public one, both
// of the same network. With private "" there is one phase: the public port is
// opened at once, because a process that reaches itself through it could never
// become ready otherwise.
//
// The error names both addresses, and nothing stays bound. ListenTwoPhase panics
// on limits that [Throttle] panics on.
func (c Config) ListenTwoPhase(ctx context.Context, network, private, public string, lim Limits) (*TwoPhase, error) {
	lim.check("ListenTwoPhase")
	t, err := c.twoPhase(ctx, network, private, public, lim)
	if err != nil {
		return nil, fmt.Errorf("listener: private address %q, public address %q: %w", private, public, err)
	}
	return t, nil
}

func (c Config) twoPhase(ctx context.Context, network, private, public string, lim Limits) (*TwoPhase, error) {
	t := &TwoPhase{}
	var err error
	if private != "" {
		lc := findsVanished(c.ListenConfig)
		if t.Private, err = lc.Listen(ctx, network, private); err != nil {
			return nil, err
		}
	}
	if t.Gate, err = c.Reserve(ctx, network, public); err != nil {
		return nil, errors.Join(err, t.closePrivate())
	}
	t.Public = Throttle(t.Gate, lim)
	if t.Private != nil {
		t.merged = Merge(t.Private, t.Public)
		return t, nil
	}
	t.merged = Merge(t.Public)
	if err := t.Open(ctx); err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return t, nil
}

func (t *TwoPhase) closePrivate() error {
	if t.Private == nil {
		return nil
	}
	return t.Private.Close()
}

// Accept waits for a client at either port; see [Merged].
func (t *TwoPhase) Accept() (net.Conn, error) { return t.merged.Accept() }

// Addr returns the public address, final from the beginning.
func (t *TwoPhase) Addr() net.Addr { return t.Gate.Addr() }

// Open opens the public port; see [Gate.Open].
func (t *TwoPhase) Open(ctx context.Context) error { return t.Gate.Open(ctx) }

// Shut closes the public port again; see [Gate.Shut].
func (t *TwoPhase) Shut() error { return t.Gate.Shut() }

// Err returns the error of a port that has failed, and nil while both live; see [Merged.Err].
func (t *TwoPhase) Err() error { return t.merged.Err() }

// Close closes both ports and ends every Accept. A second Close returns nil.
func (t *TwoPhase) Close() error { return t.merged.Close() }
