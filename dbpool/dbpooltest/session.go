package dbpooltest

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
)

// session is one client of the wire. Its goroutine owns all fields but cancel.
type session struct {
	server     *Server
	nc         net.Conn
	conn       *conn // its place in the server
	messages   chan message
	out        writer
	statements map[string]*statement
	portals    map[string]*portal
	status     byte // of the transaction: I idle, T inside, E failed
	failed     bool // an extended query failed: skip to Sync

	mu       sync.Mutex // guards the fields below
	canceled context.CancelFunc
	ended    bool // the test is over
}

func newSession(s *Server, nc net.Conn) *session {
	return &session{
		server: s, nc: nc, messages: make(chan message, 16),
		statements: make(map[string]*statement), portals: make(map[string]*portal),
	}
}

// statement is a prepared statement.
type statement struct {
	query     string
	types     []uint32
	described *Result // for the next execution
}

// portal is a statement that is ready to be executed.
type portal struct {
	statement *statement
	formats   []int16
}

// errGone ends a session: it was killed or has fallen silent.
var errGone = errors.New("gone")

func (w *session) flush() error {
	_, err := w.nc.Write(w.out.take())
	return err
}

// welcome ends the login.
func (w *session) welcome(key backendKey) {
	w.status = 'I'
	w.out.begin('R').int32(0).end() // trust
	for _, p := range [][2]string{
		{"server_version", "16.0"},
		{"server_encoding", "UTF8"},
		{"client_encoding", "UTF8"},
		{"DateStyle", "ISO, MDY"},
		{"TimeZone", "UTC"},
		{"integer_datetimes", "on"},
		{"standard_conforming_strings", "on"},
		{"default_transaction_read_only", "off"},
		{"in_hot_standby", "off"},
	} {
		w.out.begin('S').text(p[0]).text(p[1]).end()
	}
	w.out.begin('K').int32(key.pid).int32(key.secret).end()
	w.ready()
}

// ready says that the next query may come, and sends all that was written.
func (w *session) ready() bool {
	w.out.begin('Z').byte(w.status).end()
	return w.flush() == nil
}

// handle serves one message and reports whether the session goes on.
func (w *session) handle(m message) bool {
	if w.failed && m.kind != 'S' {
		return true
	}
	var err error
	switch m.kind {
	case 'Q':
		return w.simple(m.text())
	case 'S':
		w.failed = false
		return w.ready()
	case 'H':
		return w.flush() == nil
	case 'P':
		err = w.parse(m)
	case 'B':
		err = w.bind(m)
	case 'D':
		err = w.describe(m)
	case 'E':
		err = w.execute(w.portals[m.text()])
	case 'C':
		if m.byte() == 'S' {
			delete(w.statements, m.text())
		} else {
			delete(w.portals, m.text())
		}
		w.out.begin('3').end()
	default:
		err = &Error{"0A000", "dbpooltest does not know message " + strconv.Quote(string(rune(m.kind)))}
	}
	switch {
	case err == nil:
		return true
	case errors.Is(err, errGone):
		return w.last()
	}
	w.fail(err)
	w.failed = true
	return true
}

// last is what a session does that was killed or fell silent while it served a query:
// the loop of run ends it.
func (w *session) last() bool {
	w.out.take()
	return true
}

// fail sends an error, which spoils a transaction.
func (w *session) fail(err error) {
	w.out.fail(err)
	if w.status == 'T' {
		w.status = 'E'
	}
}

// simple serves a simple query, which may be several statements.
func (w *session) simple(text string) bool {
	queries := split(text)
	if len(queries) == 0 {
		w.out.begin('I').end()
	}
	for _, query := range queries {
		r, err := w.query(query, nil)
		if errors.Is(err, errGone) {
			return w.last()
		}
		if err == nil {
			if yieldsRows(query, r) {
				w.out.columns(r, nil)
			}
			err = w.result(query, r, nil)
		}
		if err != nil {
			w.fail(err)
			break
		}
	}
	return w.ready()
}

func (w *session) parse(m message) error {
	name, query := m.text(), m.text()
	types := make([]uint32, max(parameters(query), int(m.int16())))
	for i := range types {
		types[i] = m.int32() // 0, which lets the client choose, where none is given
	}
	w.statements[name] = &statement{query: query, types: types}
	w.out.begin('1').end()
	return nil
}

func (w *session) bind(m message) error {
	name, of := m.text(), m.text()
	st := w.statements[of]
	if st == nil {
		return &Error{"26000", "prepared statement " + strconv.Quote(of) + " does not exist"}
	}
	for range m.int16() {
		m.int16()
	}
	for range m.int16() {
		m.value()
	}
	p := &portal{statement: st}
	for range m.int16() {
		p.formats = append(p.formats, m.int16())
	}
	w.portals[name] = p
	w.out.begin('2').end()
	return nil
}

func (w *session) describe(m message) error {
	kind, name := m.byte(), m.text()
	var st *statement
	var formats []int16
	if kind == 'S' {
		st = w.statements[name]
	} else if p := w.portals[name]; p != nil {
		st, formats = p.statement, p.formats
	}
	if st == nil {
		return &Error{"26000", strconv.Quote(name) + " does not exist"}
	}
	if st.described == nil && len(split(st.query)) > 0 {
		r, err := w.server.answer(st.query)
		if err != nil {
			return err
		}
		st.described = r
	}
	if kind == 'S' {
		w.out.begin('t').int16(len(st.types))
		for _, oid := range st.types {
			w.out.int32(oid)
		}
		w.out.end()
	}
	if !yieldsRows(st.query, st.described) {
		w.out.begin('n').end()
		return nil
	}
	w.out.columns(st.described, formats)
	return nil
}

func (w *session) execute(p *portal) error {
	if p == nil {
		return &Error{"34000", "portal does not exist"}
	}
	query := p.statement.query
	if len(split(query)) == 0 {
		w.out.begin('I').end()
		return nil
	}
	described := p.statement.described
	p.statement.described = nil
	r, err := w.query(query, described)
	if err != nil {
		return err
	}
	return w.result(query, r, p.formats)
}

// query takes its time and returns the answer, or known if that is not nil.
func (w *session) query(query string, known *Result) (*Result, error) {
	w.server.countQuery()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w.setCancel(cancel)
	defer w.setCancel(nil)
	err := work(ctx, w.server.QueryTime, w.conn)
	switch {
	case w.gone():
		return nil, errGone
	case err != nil:
		return nil, errCanceled
	case w.status == 'E' && !ends(query):
		return nil, errAborted
	case known != nil:
		return known, nil
	}
	return w.server.answer(query)
}

// gone reports whether the connection was killed or has fallen silent.
func (w *session) gone() bool {
	select {
	case <-w.conn.dead:
		return true
	case <-w.conn.silent:
		return true
	default:
		return false
	}
}

func (w *session) setCancel(cancel context.CancelFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.canceled = cancel
	if w.ended && cancel != nil {
		cancel()
	}
}

// end ends the session and its query. It is called by others.
func (w *session) end() {
	_ = w.nc.Close()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
	if w.canceled != nil {
		w.canceled()
	}
}

// cancelQuery is called by other sessions.
func (w *session) cancelQuery() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.canceled != nil {
		w.canceled()
	}
}

// result sends the rows, if any, and what was done.
func (w *session) result(query string, r *Result, formats []int16) error {
	n := r.Affected
	if yieldsRows(query, r) {
		n = int64(len(r.Rows))
		for _, row := range r.Rows {
			if err := w.out.row(r, row, formats); err != nil {
				return err
			}
		}
	}
	verb := verb(query)
	switch verb {
	case "BEGIN", "START":
		verb, w.status = "BEGIN", 'T'
	case "COMMIT", "END":
		if verb = "COMMIT"; w.status == 'E' {
			verb = "ROLLBACK"
		}
		w.status = 'I'
	case "ROLLBACK", "ABORT":
		verb, w.status = "ROLLBACK", 'I'
	case "INSERT":
		verb += " 0 " + strconv.FormatInt(n, 10)
	case "UPDATE", "DELETE", "MERGE":
		verb += " " + strconv.FormatInt(n, 10)
	default:
		if yieldsRows(query, r) {
			verb = "SELECT " + strconv.FormatInt(n, 10)
		}
	}
	w.out.begin('C').text(verb).end()
	return nil
}
