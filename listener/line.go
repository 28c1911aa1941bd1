package listener

// A line is the pending connections, the oldest first. It is a list through the
// connections themselves, so that being in it allocates nothing.
type line struct {
	first, last *held
	n           int
}

func (l *line) oldest() *held { return l.first }

func (l *line) add(h *held) {
	h.pending, h.prev, h.next = true, l.last, nil
	if l.last != nil {
		l.last.next = h
	} else {
		l.first = h
	}
	l.last = h
	l.n++
}

// remove takes h out, if it is in.
func (l *line) remove(h *held) {
	if !h.pending {
		return
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	} else {
		l.last = h.prev
	}
	h.pending, h.prev, h.next = false, nil, nil
	l.n--
}

func (l *line) all() func(yield func(*held) bool) {
	return func(yield func(*held) bool) {
		for h := l.first; h != nil && yield(h); {
			h = h.next
		}
	}
}
