package storm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// run is one arm on its way.
type run struct {
	config   Config
	arm      arm
	watch    func(Progress)
	meter    *meter
	place    place
	upstream *upstream
	server   *server // the present life
	agents   sync.WaitGroup
	stop     context.CancelFunc // ends the agents
}

func newRun(ctx context.Context, c Config, a arm, watch func(Progress)) (*run, error) {
	p, err := newPlace(ctx, c)
	if err != nil {
		return nil, err
	}
	m := newMeter()
	u, err := newUpstream(ctx, c, m, a.pool)
	if err != nil {
		return nil, errors.Join(err, p.close())
	}
	if watch == nil {
		watch = func(Progress) {}
	}
	return &run{config: c, arm: a, watch: watch, meter: m, place: p, upstream: u, stop: func() {}}, nil
}

// play runs the arm. An end of ctx is not an error: what is known by then counts.
func (r *run) play(ctx context.Context) error {
	defer r.report(Ended)
	if err := r.connect(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := r.crash(ctx); err != nil {
		return err
	}
	if err := r.restart(ctx, 0); err != nil || ctx.Err() != nil {
		return err
	}
	if r.config.Adversity.Crash {
		if err := r.crashAgain(ctx); err != nil || ctx.Err() != nil {
			return err
		}
	}
	r.await(ctx, Recovering, r.config.Outage+r.config.Horizon()-r.meter.sinceCrash())
	return nil
}

// crashAgain kills the server in the middle of the recovery, unannounced, and brings
// it back.
func (r *run) crashAgain(ctx context.Context) error {
	died := r.config.Outage + r.config.SecondOutage().From
	if !r.until(ctx, Recovering, died) {
		return nil
	}
	if err := r.die(ctx); err != nil {
		return err
	}
	return r.restart(ctx, died)
}

// connect gives every agent its first stream, from a server that knows them all.
func (r *run) connect(ctx context.Context) error {
	first := life{auth: known{}}
	if r.arm.window {
		first.window = r.config.window()
	}
	if err := r.start(ctx, first); err != nil {
		return err
	}
	if err := r.server.gate.Open(ctx); err != nil {
		return err
	}
	agents, stop := context.WithCancel(ctx)
	r.stop = stop
	for id := range r.config.Agents {
		a := r.arm.agent(id, r)
		r.agents.Go(func() { a.run(agents) })
	}
	if !r.await(ctx, Connecting, time.Minute) && ctx.Err() == nil {
		return fmt.Errorf("only %d of %d agents had a stream after a minute", r.meter.having(), r.config.Agents)
	}
	sleep(ctx, settle)
	return nil
}

// crash kills the server, announced or not.
func (r *run) crash(ctx context.Context) error {
	r.meter.crash()
	if r.arm.planned {
		r.server.announce(notice(r.config.Outage, r.config.window()))
	}
	return r.die(ctx)
}

// die ends the present life of the server.
func (r *run) die(ctx context.Context) error {
	if err := r.server.kill(); err != nil {
		return err
	}
	r.server = nil
	return r.place.vacate(ctx)
}

// restart brings the server back when the outage is over that began at died, which
// like all moments here is counted from the first crash.
func (r *run) restart(ctx context.Context, died time.Duration) error {
	bind := r.config.Outage
	if r.arm.early {
		bind /= 4
	}
	if !r.until(ctx, Down, died+bind) {
		return nil
	}
	second := life{auth: r.arm.auth(r.config, r.upstream)}
	if r.arm.limits != nil {
		second.limits = r.arm.limits(r.config)
	}
	if err := r.start(ctx, second); err != nil {
		return err
	}
	if err := r.server.check(ctx, r.place); err != nil {
		return err
	}
	if !r.until(ctx, Down, died+r.config.Outage) {
		return nil
	}
	r.meter.restart()
	return r.server.gate.Open(ctx)
}

func (r *run) start(ctx context.Context, l life) error {
	s, err := newServer(ctx, r.place, r.meter, l)
	r.server = s
	return err
}

// settle is how long the last stream lives before the crash, at least: in virtual
// time it would not have lived at all, and its loss would be a failed attempt.
const settle = 10 * time.Millisecond

const tick = 100 * time.Millisecond

// until waits for a moment after the crash and reports whether ctx still lives.
func (r *run) until(ctx context.Context, phase Phase, moment time.Duration) bool {
	for {
		r.report(phase)
		left := moment - r.meter.sinceCrash()
		if left <= 0 {
			return ctx.Err() == nil
		}
		if !sleep(ctx, min(left, tick)) {
			return false
		}
	}
}

// await waits until all agents have a stream and reports whether they have.
func (r *run) await(ctx context.Context, phase Phase, atMost time.Duration) bool {
	end := time.NewTimer(atMost)
	defer end.Stop()
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for r.meter.having() < r.config.Agents {
		select {
		case <-r.meter.changed:
		case <-ticker.C:
			r.report(phase)
		case <-end.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
	return true
}

func (r *run) report(phase Phase) {
	r.watch(Progress{
		Arm:     r.arm.name,
		Phase:   phase,
		Back:    r.meter.having(),
		Agents:  r.config.Agents,
		Elapsed: r.meter.sinceCrash(),
		End:     r.config.Outage + r.config.Horizon(),
	})
}

// close leaves nothing running.
func (r *run) close() {
	r.stop()
	if r.server != nil {
		_ = r.server.kill()
	}
	r.agents.Wait()
	_ = r.upstream.close()
	_ = r.place.close()
}
