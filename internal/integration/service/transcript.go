//go:build linux

package service

import (
	"bytes"
	"context"
	"errors"
	"sync"
)

// errEnded says that a process ended before it wrote what was waited for.
var errEnded = errors.New("it ended")

// A transcript is what a process has written so far.
type transcript struct {
	mu      sync.Mutex // guards the fields below
	text    bytes.Buffer
	changed chan struct{} // closed and replaced by each write
}

func newTranscript() *transcript {
	return &transcript{changed: make(chan struct{})}
}

// Write implements [io.Writer].
func (t *transcript) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.changed)
	t.changed = make(chan struct{})
	return t.text.Write(b)
}

// String returns all of it.
func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text.String()
}

// count returns how often text occurs.
func (t *transcript) count(text string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Count(t.text.Bytes(), []byte(text))
}

// next returns what is closed by the next write.
func (t *transcript) next() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// await waits until text occurs n times, the process has ended or ctx is done.
func (t *transcript) await(ctx context.Context, ended <-chan struct{}, text string, n int) error {
	for {
		next := t.next() // before the look, so that no write is missed
		if t.count(text) >= n {
			return nil
		}
		select {
		case <-next:
		case <-ended:
			if t.count(text) >= n {
				return nil
			}
			return errEnded
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
