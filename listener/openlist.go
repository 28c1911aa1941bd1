package listener

// An openList is the wrapped connections that are open, in no order. It grows in
// pieces: doubling one slice would cost more than the connections' own counts.
type openList struct {
	pieces [][]*held
	n      int
}

const pieceLen = 64

func (l *openList) at(i int) *held { return l.pieces[i/pieceLen][i%pieceLen] }

func (l *openList) set(i int, h *held) { l.pieces[i/pieceLen][i%pieceLen] = h }

func (l *openList) add(h *held) {
	if l.n == pieceLen*len(l.pieces) {
		l.pieces = append(l.pieces, make([]*held, pieceLen))
	}
	h.index = int32(l.n)
	l.set(l.n, h)
	l.n++
}

func (l *openList) remove(h *held) {
	l.n--
	last := l.at(l.n)
	l.set(int(h.index), last)
	last.index = h.index
	l.set(l.n, nil)
	if keep := l.n/pieceLen + 2; keep < len(l.pieces) { // one more than is needed
		l.pieces[keep] = nil
		l.pieces = l.pieces[:keep]
	}
}

func (l *openList) all() func(yield func(*held) bool) {
	return func(yield func(*held) bool) {
		for i := range l.n {
			if !yield(l.at(i)) {
				return
			}
		}
	}
}
