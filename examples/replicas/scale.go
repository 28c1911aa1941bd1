package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/connhygiene/connhygiene/transport"
)

// perProcess is how many connections one process holds: 20,000 descriptors, and a reserve.
const perProcess = 16_000

// A crowd is so many connections that neither side fits into one process.
type crowd struct {
	stage
	agents   int
	capacity float64 // logins a second of all servers
	window   time.Duration
	public   []string
	private  []string
	servers  []*process
	client   *http.Client
}

// scale holds o.scale connections in several processes, measures them, and restarts all of
// their servers at once.
func scale(ctx context.Context, o options, stdout, stderr io.Writer) error {
	capacity := float64(o.scale) / o.bound.Seconds()
	c := &crowd{
		stage: stage{options: o, stop: func() {}}, agents: o.scale, capacity: capacity,
		window: time.Duration(float64(o.scale) / capacity * float64(time.Second)),
		client: &http.Client{Transport: transport.New(64)},
	}
	defer c.client.CloseIdleConnections()
	defer c.close()
	n := int(math.Ceil(float64(o.scale) / perProcess))
	ports, err := freePorts(2 * n)
	if err != nil {
		return err
	}
	c.public, c.private = ports[:n], ports[n:]
	c.servers = make([]*process, n)
	if err := c.serve(ctx); err != nil {
		return err
	}
	empty := c.memory(ctx)
	began := time.Now()
	if err := c.connect(ctx); err != nil {
		return err
	}
	if _, err := c.until(ctx, c.agents, stderr); err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d connections in %d server processes, %.0f logins a second\n", c.agents, n, capacity)
	fmt.Fprintf(stdout, "connected after          %6.1f s (%.2f of the bound)\n", time.Since(began).Seconds(), time.Since(began).Seconds()/c.window.Seconds())
	full := c.memory(ctx)
	fmt.Fprintf(stdout, "memory of the servers    %6.2f GB, %.1f KB a connection (Juju's test: 3 GB for 48,000)\n",
		float64(full)/1e9, float64(full-empty)/1e3/float64(c.agents))
	fmt.Fprintf(stdout, "claims while they stay   %6.0f a second\n", c.claims(ctx))
	return c.restart(ctx, stdout, stderr)
}

// serve starts all servers.
func (c *crowd) serve(ctx context.Context) error {
	for i := range c.public {
		p, err := c.self(roleVariable+"=scale-server", "PUBLIC="+c.public[i], "PRIVATE="+c.private[i],
			"STREAM="+c.options.stream, "WINDOW="+c.window.String(), "CAPACITY="+strconv.FormatFloat(c.capacity/float64(len(c.public)), 'g', -1, 64))
		if err != nil {
			return err
		}
		c.servers[i] = p
		if err := p.ready(ctx, c.private[i]); err != nil {
			return err
		}
	}
	return nil
}

// connect starts the agents, as many processes as there are servers.
func (c *crowd) connect(context.Context) error {
	left := c.agents
	for i, address := range c.public {
		share := left / (len(c.public) - i)
		left -= share
		if _, err := c.self(roleVariable+"=scale-agents", "PUBLIC="+address, "AGENTS="+strconv.Itoa(share), "WINDOW="+c.window.String()); err != nil {
			return err
		}
	}
	return nil
}

func (c *crowd) self(env ...string) (*process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return c.start(path, nil, env...)
}

// until returns how long it took until so many agents are connected.
func (c *crowd) until(ctx context.Context, agents int, stderr io.Writer) (time.Duration, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, 5*c.window+time.Minute, errors.New("not all connections came up"))
	defer cancel()
	began, shown := time.Now(), time.Now()
	for {
		n := 0
		for _, address := range c.private {
			open, _, _ := c.counts(ctx, address)
			n += open
		}
		if n >= agents {
			return time.Since(began), nil
		}
		if time.Since(shown) > 5*time.Second {
			shown = time.Now()
			fmt.Fprintf(stderr, "%4.0f s: %d connected\n", time.Since(began).Seconds(), n)
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// counts asks a server how many streams it has, and how many logins there were.
func (c *crowd) counts(ctx context.Context, address string) (open, logins int, err error) {
	text, err := c.get(ctx, "http://"+address+"/counts")
	if err != nil {
		return 0, 0, err
	}
	_, err = fmt.Sscan(text, &open, &logins)
	return open, logins, err
}

func (c *crowd) get(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	res, err := c.client.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return string(text), err
}

// memory returns the resident bytes of all servers once they have given back what they do
// not need, or zero where /proc does not say.
func (c *crowd) memory(ctx context.Context) (bytes int) {
	for i, p := range c.servers {
		_, _ = c.get(ctx, "http://"+c.private[i]+"/free")
		status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
		_, rest, _ := strings.Cut(string(status), "VmRSS:")
		kilobytes, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, _ := strconv.Atoi(kilobytes)
		bytes += n * 1024
	}
	return bytes
}

// claims returns how many short requests a second the servers answer beside the streams.
func (c *crowd) claims(ctx context.Context) float64 {
	const long = 5 * time.Second
	ctx, cancel := context.WithTimeout(ctx, long)
	defer cancel()
	var done atomic.Int64
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for ctx.Err() == nil {
				if _, err := c.get(ctx, "http://"+c.public[i%len(c.public)]+"/claim"); err == nil {
					done.Add(1)
				}
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / long.Seconds()
}

// restart kills all servers at once, and measures how long it takes until all are back.
func (c *crowd) restart(ctx context.Context, stdout, stderr io.Writer) error {
	for _, p := range c.servers {
		p.kill()
	}
	if err := c.serve(ctx); err != nil {
		return err
	}
	began := time.Now()
	if _, err := c.until(ctx, c.agents*99/100, stderr); err != nil {
		return err
	}
	most := time.Since(began)
	if _, err := c.until(ctx, c.agents, stderr); err != nil {
		return err
	}
	all, logins := time.Since(began), 0
	for _, address := range c.private {
		_, n, _ := c.counts(ctx, address)
		logins += n
	}
	_, err := fmt.Fprintf(stdout, "all restarted at once    99 %% back at %.2f of the bound (%.0f s), all at %.2f, %.2f logins each\n",
		most.Seconds()/c.window.Seconds(), c.window.Seconds(), all.Seconds()/c.window.Seconds(), float64(logins)/float64(c.agents))
	return err
}
