package storm

import (
	"sync"
	"time"
)

// BinWidth is the width of the bins of a [Result]'s time line.
const BinWidth = 100 * time.Millisecond

// Bin is what happened within one [BinWidth].
type Bin struct {
	Attempts int // Attempts is how many agents tried, whether or not there was a server.
	Arrivals int // Arrivals is how many attempts reached the handler.
	Back     int // Back is how many agents got their stream, less those that lost one they had got.
}

// meter counts what happens from the moment the server dies.
type meter struct {
	mu         sync.Mutex // guards the fields below
	died, up   time.Time  // zero before it happened
	connected  int        // first streams, before the server died
	attempts   int
	attemptsUp int
	bins       []Bin                 // by the time since died
	arrivals   int                   // attempts that reached the handler, since up
	timeouts   int                   // auth steps that gave up waiting for their lookup
	logins     int                   // streams begun since the server died
	back       map[int]time.Duration // when each agent that has its stream got it, since up
	changed    chan struct{}         // has room for one: an agent got its stream
}

func newMeter() *meter {
	return &meter{back: map[int]time.Duration{}, changed: make(chan struct{}, 1)}
}

// crash starts the clock.
func (m *meter) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.died = time.Now()
}

// restart starts the second clock, the first time: from here the bound counts.
func (m *meter) restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.up.IsZero() {
		m.up = time.Now()
	}
}

// sinceUp is how long ago the server was first up; it reports false before.
func (m *meter) sinceUp() (time.Duration, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Since(m.up), !m.up.IsZero()
}

func (m *meter) attempted() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.died.IsZero() {
		return
	}
	m.attempts++
	if !m.up.IsZero() {
		m.attemptsUp++
	}
	m.binLocked().Attempts++
}

// binLocked is the bin of now.
func (m *meter) binLocked() *Bin {
	bin := int(time.Since(m.died) / BinWidth)
	for len(m.bins) <= bin {
		m.bins = append(m.bins, Bin{})
	}
	return &m.bins[bin]
}

func (m *meter) arrived() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.up.IsZero() {
		m.arrivals++
		m.binLocked().Arrivals++
	}
}

func (m *meter) timedOut() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.timeouts++
}

// streaming counts an agent that has its stream.
func (m *meter) streaming(id int) {
	m.mu.Lock()
	if m.died.IsZero() {
		m.connected++
	} else {
		m.logins++
		m.back[id] = time.Since(m.up)
		m.binLocked().Back++
	}
	m.mu.Unlock()
	select {
	case m.changed <- struct{}{}:
	default:
	}
}

// lost counts an agent whose stream has ended. Streams that end with the first life
// of the server are not counted, since none was counted as back.
func (m *meter) lost(id int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.back[id]; ok {
		delete(m.back, id)
		m.binLocked().Back--
	}
}

// having is how many agents have a stream in the present life of the server.
func (m *meter) having() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.died.IsZero() {
		return m.connected
	}
	return len(m.back)
}

func (m *meter) sinceCrash() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.died.IsZero() {
		return 0
	}
	return time.Since(m.died)
}
