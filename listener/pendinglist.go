package listener

// A pendingList is the pending connections, the oldest first. It is a list through the
// connections themselves, so that being in it allocates nothing.
type pendingList struct {
	first, last *held
	n           int
	raw         int // of them
}

func (l *pendingList) oldest() *held { return l.first }

func (l *pendingList) add(h *held) {
	h.pending, h.prev, h.next = true, l.last, nil
	if l.last != nil {
		l.last.next = h
	} else {
		l.first = h
	}
	l.last = h
	l.n++
	if h.raw {
		l.raw++
	}
}

// remove takes h out, and reports whether it was in.
func (l *pendingList) remove(h *held) bool {
	if !h.pending {
		return false
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
	if h.raw {
		l.raw--
	}
	return true
}

// all yields each; the one that is yielded may be removed.
func (l *pendingList) all() func(yield func(*held) bool) {
	return func(yield func(*held) bool) {
		for h := l.first; h != nil; {
			next := h.next
			if !yield(h) {
				return
			}
			h = next
		}
	}
}
