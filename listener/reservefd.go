package listener

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"
)

// An fdReserve is a descriptor that a public port holds in reserve. It is given up
// when the process has no more descriptors, and nothing is accepted before it is
// there again. So a public port never takes the last descriptor, and a private port,
// which has no reserve, still answers when clients of the public one have used up
// the rest.
//
// The nil fdReserve accepts without a reserve.
type fdReserve struct {
	mu   sync.Mutex // guards the fields below
	file *os.File
	done bool
}

// accept fails with EMFILE where l would succeed once more.
func (r *fdReserve) accept(l net.Listener) (arrival, error) {
	if r == nil {
		return offerOf(l)
	}
	if err := r.hold(); err != nil {
		return arrival{}, err
	}
	a, err := offerOf(l)
	if noDescriptors(err) {
		r.free(false)
	}
	return a, err
}

func offerOf(l net.Listener) (arrival, error) {
	if o, ok := l.(offerer); ok {
		return o.offer()
	}
	c, err := l.Accept()
	return arrival{conn: c}, err
}

func noDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// hold makes sure that there is a descriptor in reserve. Without a null device
// there is none.
func (r *fdReserve) hold() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file != nil || r.done {
		return nil
	}
	f, err := os.Open(os.DevNull)
	if noDescriptors(err) {
		return err
	}
	r.file = f // nil after any other error
	return nil
}

// free gives the descriptor up, perhaps for good.
func (r *fdReserve) free(done bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.done = r.done || done
	_ = r.file.Close() // an error only if there is none
	r.file = nil
}
