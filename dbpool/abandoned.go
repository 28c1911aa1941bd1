package dbpool

import (
	"context"
	"database/sql/driver"
	"slices"
	"time"
)

// abandoned is a spare: a connection whose caller has left.
type abandoned struct {
	conn  driver.Conn
	timer *time.Timer
}

// keepLocked keeps a connection for the next caller.
func (c *Connector) keepLocked(conn driver.Conn) {
	s := &abandoned{conn: conn}
	s.timer = time.AfterFunc(spareLife, func() { c.expire(s) })
	c.spares = append(c.spares, s)
}

// expire ends the time of a spare, unless a caller took it.
func (c *Connector) expire(s *abandoned) {
	c.mu.Lock()
	i := slices.Index(c.spares, s)
	if i >= 0 {
		c.spares = slices.Delete(c.spares, i, i+1)
		c.stats.Expired++
	}
	c.mu.Unlock()
	if i >= 0 {
		c.discard(s.conn)
	}
}

// discard closes a connection and then frees its slot.
func (c *Connector) discard(conn driver.Conn) {
	_ = conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.releaseLocked()
	c.pumpLocked()
}

// releaseLocked frees a slot.
func (c *Connector) releaseLocked() {
	c.slots--
	if c.closed && c.slots == 0 {
		close(c.drained)
	}
}

// shut is Close's part under the lock: it returns what Close has to end.
func (c *Connector) shut() (cancels []context.CancelFunc, spares []*abandoned, again bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, true
	}
	c.closed = true
	for _, timer := range []*time.Timer{c.timer, c.flushTimer} {
		if timer != nil {
			timer.Stop()
		}
	}
	for len(c.queue) > 0 {
		c.deliverLocked(result{err: errClosed})
	}
	for _, d := range c.dials {
		cancels = append(cancels, d.cancel)
	}
	for _, s := range c.spares {
		s.timer.Stop()
	}
	spares, c.spares = c.spares, nil
	c.stats.Expired += uint64(len(spares))
	if c.slots == 0 {
		close(c.drained)
	}
	return cancels, spares, false
}
