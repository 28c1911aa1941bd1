package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A stage is everything that one arm needs: Redis, the provider, the servers, HAProxy
// and the agents.
type stage struct {
	options options
	arm     arm
	home    string // a directory that goes with the stage
	watch   *watch
	idp     *provider
	redis   string
	public  []string // of the servers
	private []string
	servers []*process
	stop    context.CancelFunc // of the agents
	agents  sync.WaitGroup
	all     []*process // to be ended in the reverse order
}

func newStage(ctx context.Context, o options, a arm) (s *stage, err error) {
	s = &stage{options: o, arm: a, watch: newWatch(o.agents), servers: make([]*process, replicas), stop: func() {}}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.home, err = os.MkdirTemp("", "replicas"); err != nil {
		return s, err
	}
	if s.idp, err = newProvider(o.capacity); err != nil {
		return s, err
	}
	if a.tier {
		if err = s.startRedis(ctx); err != nil {
			return s, err
		}
	}
	ports, err := freePorts(2*replicas + 1)
	if err != nil {
		return s, err
	}
	s.public, s.private = ports[:replicas], ports[replicas:2*replicas]
	for i := range replicas {
		if err = s.serve(ctx, i); err != nil {
			return s, err
		}
	}
	front := ports[2*replicas]
	if err = s.startHAProxy(ctx, front); err != nil {
		return s, err
	}
	agents, stop := context.WithCancel(ctx)
	s.stop = stop
	client := newClient()
	for i := range o.agents {
		s.agents.Go(func() { agent{i, "http://" + front, client, s.watch, o.deadline}.run(agents) })
	}
	return s, nil
}

// close ends everything.
func (s *stage) close() {
	s.stop()
	s.agents.Wait()
	for i := len(s.all) - 1; i >= 0; i-- {
		s.all[i].kill()
	}
	if s.idp != nil {
		s.idp.close()
	}
	if s.home != "" {
		_ = os.RemoveAll(s.home)
	}
}

// start runs a program that ends with the stage at the latest.
func (s *stage) start(name string, args []string, env ...string) (*process, error) {
	p, err := startProcess(name, args, env)
	if err != nil {
		return nil, err
	}
	s.all = append(s.all, p)
	return p, nil
}

// serve starts server i, and returns when it is ready.
func (s *stage) serve(ctx context.Context, i int) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	workers := strconv.Itoa(s.idp.workers)
	p, err := s.start(self, nil, roleVariable+"=server",
		"PUBLIC="+s.public[i], "PRIVATE="+s.private[i], "PROVIDER="+s.idp.url, "REDIS="+s.redis,
		"MODE="+s.arm.mode, "WORKERS="+workers, "DEADLINE="+s.options.deadline.String(),
		"CAPACITY="+strconv.FormatFloat(s.options.capacity, 'g', -1, 64))
	if err != nil {
		return err
	}
	s.servers[i] = p
	return p.ready(ctx, s.private[i])
}

func (s *stage) startRedis(ctx context.Context) error {
	path, err := find("redis-server")
	if err != nil {
		return err
	}
	ports, err := freePorts(1)
	if err != nil {
		return err
	}
	s.redis = ports[0]
	_, port, _ := net.SplitHostPort(s.redis)
	p, err := s.start(path, []string{
		"--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", s.home,
	})
	if err != nil {
		return err
	}
	return p.ready(ctx, s.redis)
}

func (s *stage) startHAProxy(ctx context.Context, front string) error {
	path, err := find("haproxy")
	if err != nil {
		return err
	}
	file := s.home + "/haproxy.cfg"
	if err := os.WriteFile(file, []byte(s.haproxy(front)), 0o600); err != nil {
		return err
	}
	p, err := s.start(path, []string{"-db", "-f", file})
	if err != nil {
		return err
	}
	return p.ready(ctx, front)
}

// haproxy passes connections on as they are. A server that refuses one does not get it:
// HAProxy gives it to another; and the check asks the private port, which says that a
// replica is draining before its public port is closed.
func (s *stage) haproxy(front string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `global
	maxconn %d
defaults
	mode tcp
	timeout connect 1s
	timeout client 1h
	timeout server 1h
	retries 3
	option redispatch 1
listen agents
	bind %s
	balance %s
	option httpchk GET /readyz
`, 4*s.options.agents+100, front, s.arm.balance)
	for i := range replicas {
		_, port, _ := net.SplitHostPort(s.private[i])
		fmt.Fprintf(&b, "\tserver replica%d %s check port %s inter 200ms fall 1 rise 1 on-marked-down shutdown-sessions\n", i, s.public[i], port)
	}
	if s.arm.mode == drained {
		return strings.ReplaceAll(b.String(), " on-marked-down shutdown-sessions", "")
	}
	return b.String()
}

// allUp returns when every agent has its stream, or with an error when the patience is
// at its end.
func (s *stage) allUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.options.patience, errors.New("not all agents were back in time"))
	defer cancel()
	for s.watch.online() < s.options.agents {
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// begin forgets what has been counted so far.
func (s *stage) begin() {
	s.watch.begin()
	s.idp.begin()
}

// freePorts returns loopback addresses that nobody uses now.
func freePorts(n int) (addresses []string, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return addresses, nil
}
