package transport

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// The bounds of Go 1.27's own draining, so that both releases do the same.
const (
	drainBytes = 256 << 10
	drainTime  = 50 * time.Millisecond
)

// A body is read and closed by the caller. Close may be called beside Read.
type body struct {
	x        *exchange
	resp     *http.Response
	rc       io.ReadCloser
	stays    bool // closing it unread would cost an HTTP/1 connection that could stay
	shutOnce sync.Once
	shutErr  error

	mu      sync.Mutex // guards the fields below
	left    int64      // of the answer's length; -1 if that is unknown
	reading int
	end     error // of Read
	closed  bool
}

func (b *body) init(x *exchange, resp *http.Response) {
	b.x, b.resp, b.rc, b.left = x, resp, resp.Body, resp.ContentLength
	b.stays = resp.ProtoMajor < 2 && !resp.Close && !x.req.Close
	if resp.Uncompressed {
		b.left = -1
	}
}

// Read reads from the answer's body.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading++
	b.mu.Unlock()

	b.x.timers.wait()
	n, err := b.rc.Read(p)
	b.x.timers.pause()
	if n > 0 {
		b.x.heard()
	}

	b.mu.Lock()
	b.reading--
	ended := b.readLocked(n, err)
	b.mu.Unlock()
	if err == nil {
		return n, nil
	}
	switch {
	case err != io.EOF:
		err = b.x.explain(err)
	case ended:
		b.x.over(b.resp)
	}
	return n, err
}

// readLocked keeps account of a Read, and reports whether it is the one that
// ended the body.
func (b *body) readLocked(n int, err error) bool {
	if b.left >= 0 {
		b.left = max(b.left-int64(n), 0)
	}
	if err == nil || b.end != nil {
		return false
	}
	b.end = err
	return true
}

// Close closes the body. The rest of an HTTP/1 body is read first, within DrainBytes and
// DrainTime, unless it is known to be too much.
func (b *body) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	unread, left, busy := b.end == nil, b.left, b.reading > 0
	b.mu.Unlock()

	if unread && b.stays {
		if busy || !b.drain(left) {
			b.x.host.abandoned.Add(1)
			return b.abandon()
		}
		b.x.host.drained.Add(1)
	}
	err := b.shut()
	b.x.finish()
	return err
}

// drain reads the rest, and reports whether that was all.
func (b *body) drain(left int64) bool {
	r := b.x.reuse
	limit := r.drainBytes()
	if limit < 0 || left > limit {
		return false
	}
	d := r.drainer()
	d.body = b
	d.timer.Reset(r.drainTime())
	n, all := b.rest(d.buf[:], min(limit, math.MaxInt64-1))
	if d.timer.Stop() {
		d.body = nil
		r.drainers.Put(d)
	}
	b.x.host.drainedBytes.Add(uint64(n))
	if all {
		b.x.over(b.resp)
	}
	return all
}

// rest reads up to limit bytes and one more, to see the end behind them. Once
// interrupted it ends, even if the body would go on for ever with neither a byte
// nor an error.
func (b *body) rest(buf []byte, limit int64) (n int64, all bool) {
	for n <= limit && !b.x.aborted.Load() {
		m, err := b.rc.Read(buf[:min(int64(len(buf)), limit-n+1)])
		n += int64(m)
		if err != nil {
			return n, err == io.EOF
		}
	}
	return n, false
}

// A drainer is a buffer for the rest of a body, and a timer that interrupts. It serves one
// body after the other, unless its timer has fired.
type drainer struct {
	timer *time.Timer
	body  *body
	buf   [32 << 10]byte
}

func (r *Reuse) drainer() *drainer {
	if d, ok := r.drainers.Get().(*drainer); ok {
		return d
	}
	d := new(drainer)
	d.timer = time.AfterFunc(math.MaxInt64, func() { d.body.interrupt() })
	return d
}

// interrupt ends a Read of drain. It ends the request's context and not the
// body: net/http had a deadlock of Close beside Read (golang/go#81404). A Base
// that does not honour its context is left the half of DrainTime.
func (b *body) interrupt() {
	b.x.abort()
	time.AfterFunc(b.x.reuse.drainTime()/2, func() { _ = b.shut() })
}

// abandon closes the body and its connection. The context ends first, so that
// Go 1.27 does not drain behind our back.
func (b *body) abandon() error {
	b.x.abort()
	err := b.shut()
	b.x.finish()
	if errors.Is(err, context.Canceled) || errors.Is(err, net.ErrClosed) {
		return nil // that was us
	}
	return err
}

func (b *body) shut() error {
	b.shutOnce.Do(func() { b.shutErr = b.rc.Close() })
	return b.shutErr
}

// DrainClose closes a body after reading the rest of it, 256 KiB and 50ms at most, so that its
// HTTP/1 connection can be used again. It is for code whose client has no [Reuse], which does
// the same at Close and better: it knows the length before it starts, and leaves HTTP/2 bodies
// unread. A nil rc is fine, and one that can be written to, as after an upgrade, is closed
// without reading. The error is that of Close. If Read panics, so does DrainClose, after
// it has closed rc.
//
// A Read that is still waiting after 50ms is ended by Close; on Go 1.27.0 and
// 1.27.1 that can hang (golang/go#81404).
func DrainClose(rc io.ReadCloser) error {
	if rc == nil {
		return nil
	}
	switch rc.(type) {
	case *body, *handle, io.Writer:
		return rc.Close()
	}
	drained := make(chan any, 1)
	var late atomic.Bool
	go func() {
		defer func() { drained <- recover() }()
		buf := make([]byte, 8<<10)
		for n := 0; n <= drainBytes && !late.Load(); {
			m, err := rc.Read(buf[:min(len(buf), drainBytes+1-n)])
			if n += m; err != nil {
				return
			}
		}
	}()
	timer := time.NewTimer(drainTime)
	defer timer.Stop()
	select {
	case thrown := <-drained:
		if thrown != nil {
			_ = rc.Close()
			panic(thrown)
		}
	case <-timer.C:
		late.Store(true)
	}
	return rc.Close()
}
