package transport

import (
	"errors"
	"io"
	"net/http"
	"sync"
)

// An upload is a request's body that can be sent again as long as nothing of it
// was read. net/http closes the body of a request that it could not send on a
// connection that another request had just closed to newcomers, and then finds
// that it "cannot rewind body after connection loss".
type upload struct {
	rc io.ReadCloser

	mu   sync.Mutex // guards the fields below
	read bool
	over bool // it is not sent again
	last *attempt
	done bool // rc is closed
}

func newUpload(rc io.ReadCloser) *upload { return &upload{rc: rc} }

var errRead = errors.New("transport: request body was read and cannot be sent again; define GetBody")

// again is the request's GetBody.
func (u *upload) again() (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.read || u.done {
		return nil, errRead
	}
	u.last = &attempt{u: u}
	return u.last, nil
}

// finish says that the request is not sent again.
func (u *upload) finish() {
	u.mu.Lock()
	u.over = true
	mine := u.last.closed && u.closeLocked()
	u.mu.Unlock()
	if mine {
		_ = u.rc.Close()
	}
}

// closeLocked reports whether the caller is the one to close the body.
func (u *upload) closeLocked() bool {
	first := !u.done
	u.done = true
	return first
}

// An attempt is the body as one attempt to send it sees it.
type attempt struct {
	u      *upload
	closed bool // guarded by u.mu
}

func (a *attempt) Read(p []byte) (int, error) {
	a.u.mu.Lock()
	stale := a.closed || a.u.last != a
	if !stale {
		a.u.read = true
	}
	a.u.mu.Unlock()
	if stale {
		return 0, http.ErrBodyReadAfterClose
	}
	return a.u.rc.Read(p)
}

func (a *attempt) Close() error {
	u := a.u
	u.mu.Lock()
	a.closed = true
	mine := u.last == a && (u.read || u.over) && u.closeLocked()
	u.mu.Unlock()
	if mine {
		return u.rc.Close()
	}
	return nil
}
