package grpcconn

import "encoding/binary"

// headerLength is that of an HTTP/2 frame's header: the length of its payload in 24
// bits, type, flags, and the stream's number in 32 (RFC 9113, section 4.1).
const headerLength = 9

// goAwayFrame tells a client to begin no more streams: those it has begun, whatever
// their number, are served (section 6.8). It is what grpc-go itself sends first.
var goAwayFrame = []byte{
	0, 0, 8, // length
	7, 0, // GOAWAY, no flags
	0, 0, 0, 0, // the connection
	0x7f, 0xff, 0xff, 0xff, // the last stream that is served
	0, 0, 0, 0, // NO_ERROR
}

// frames follows where in its frames a stream of bytes is. grpc-go's servers write
// whole frames, but not one with each Write.
type frames struct {
	header [headerLength]byte
	have   int  // bytes of the header that have been written
	left   int  // bytes of the payload that have not
	begun  bool // a frame has been completed: SETTINGS must be the first
}

// between reports whether a frame of ours may be put here.
func (f *frames) between() bool { return f.begun && f.have == 0 && f.left == 0 }

// next follows p up to the end of a frame, or of p, and returns how much that is.
func (f *frames) next(p []byte) int {
	n := 0
	if f.left == 0 {
		n = copy(f.header[f.have:], p)
		if f.have += n; f.have < headerLength {
			return n
		}
		f.left = int(binary.BigEndian.Uint32(f.header[:4]) >> 8)
		f.have = 0
	}
	payload := min(f.left, len(p)-n)
	f.left -= payload
	f.begun = f.begun || f.left == 0
	return n + payload
}

// Write writes p, and a GOAWAY that is owed after the first frame that ends in it.
func (c *conn) Write(p []byte) (int, error) {
	c.writing.Lock()
	defer c.writing.Unlock()
	done, from := 0, 0
	for from < len(p) {
		from += c.out.next(p[from:])
		if !c.owed || !c.out.between() {
			continue
		}
		n, err := c.Conn.Write(p[done:from])
		if done += n; err != nil {
			return done, err
		}
		if err := c.payLocked(); err != nil {
			return done, err
		}
	}
	if done == len(p) {
		return done, nil
	}
	n, err := c.Conn.Write(p[done:])
	return done + n, err
}

// goAway writes GOAWAY now, or lets the Write that completes a frame do it.
func (c *conn) goAway() {
	c.writing.Lock()
	defer c.writing.Unlock()
	c.owed = true
	if c.out.between() {
		_ = c.payLocked() // the next Write fails as well
	}
}

func (c *conn) payLocked() error {
	c.owed = false
	_, err := c.Conn.Write(goAwayFrame)
	return err
}
