//go:build !linux

package listener

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// refusing is for Linux: on other systems a bound socket cannot share its port
// with the one that will listen, or only with anybody.
func refusing(_ context.Context, _ net.ListenConfig, network, address string) (binding, net.Addr, error) {
	return nil, nil, fmt.Errorf("listener: reserve %s %s without Config.Park: %w", network, address, errors.ErrUnsupported)
}
