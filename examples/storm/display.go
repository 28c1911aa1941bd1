package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// display shows how far the arms are: a bar for each on a terminal, otherwise a
// plain line whenever an arm enters a new phase.
type display struct {
	out      io.Writer
	terminal bool

	mu    sync.Mutex // guards the fields below
	rows  []storm.Progress
	drawn int // lines on the terminal that the next drawing replaces
	last  time.Time
}

func newDisplay(out io.Writer, o options) *display {
	d := &display{out: out, terminal: isTerminal(out), rows: make([]storm.Progress, len(o.arms))}
	for i, name := range o.arms {
		d.rows[i] = storm.Progress{Arm: name, Agents: o.config.Agents}
	}
	return d
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// show is called by each arm on its own goroutine.
func (d *display) show(row int, p storm.Progress) {
	d.mu.Lock()
	defer d.mu.Unlock()
	entered := d.rows[row].Phase != p.Phase
	d.rows[row] = p
	switch {
	case d.terminal && (entered || time.Since(d.last) > 100*time.Millisecond):
		d.drawLocked()
	case !d.terminal && entered:
		fmt.Fprintln(d.out, line(p))
	}
}

func line(p storm.Progress) string {
	return fmt.Sprintf("%-8s %-10s %d of %d agents have their stream, %.1fs after the crash",
		p.Arm, p.Phase, p.Back, p.Agents, p.Elapsed.Seconds())
}

// drawLocked draws all rows over the ones drawn before.
func (d *display) drawLocked() {
	var b strings.Builder
	if d.drawn > 0 {
		fmt.Fprintf(&b, "\x1b[%dA", d.drawn)
	}
	for _, p := range d.rows {
		fmt.Fprintf(&b, "\x1b[2K%s\n", bar(p))
	}
	_, _ = io.WriteString(d.out, b.String())
	d.drawn, d.last = len(d.rows), time.Now()
}

// barWidth leaves room for the words within 80 columns.
const barWidth = 30

func bar(p storm.Progress) string {
	full := barWidth * p.Back / max(1, p.Agents)
	state := string(p.Phase)
	if state == "" {
		state = "waiting"
	}
	return fmt.Sprintf("%-8s [%s%s] %5d/%d %-10s %5.1fs",
		p.Arm, strings.Repeat("#", full), strings.Repeat(".", barWidth-full), p.Back, p.Agents, state, p.Elapsed.Seconds())
}

// close leaves the last state on the terminal.
func (d *display) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.terminal && d.drawn > 0 {
		d.drawLocked()
		fmt.Fprintln(d.out)
	}
}
