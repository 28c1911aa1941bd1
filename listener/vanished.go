package listener

import (
	"net"
	"syscall"
	"time"
)

// A client whose machine is lost, or whose flow a middlebox has forgotten, says
// nothing. It must not hold a place for hours: keep-alive probes after 15, 20, 25 and
// 30 seconds end its connection, and TCP_USER_TIMEOUT one that owes acknowledgements.
const vanishedAfter = 30 * time.Second

var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// findsVanished sets what the caller has left open.
func findsVanished(lc net.ListenConfig) net.ListenConfig {
	if lc.KeepAlive == 0 && lc.KeepAliveConfig == (net.KeepAliveConfig{}) {
		lc.KeepAliveConfig = keepAlive
	}
	if lc.KeepAlive < 0 && !lc.KeepAliveConfig.Enable {
		return lc
	}
	users := lc.Control
	lc.Control = func(network, address string, rc syscall.RawConn) error {
		if users != nil {
			if err := users(network, address, rc); err != nil {
				return err
			}
		}
		if network[0] != 't' {
			return nil
		}
		return rc.Control(func(fd uintptr) {
			if !endsVanished(fd) {
				endVanished(fd, vanishedAfter)
			}
		})
	}
	return lc
}
