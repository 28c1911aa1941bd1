package dbpooltest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"strconv"
	"time"
)

// The messages of PostgreSQL's protocol, version 3: a letter, the length of what
// follows with the length itself, and numbers in network order. See
// https://www.postgresql.org/docs/current/protocol-message-formats.html.

// mostBytes bounds a message: a test that sends more has another mistake.
const mostBytes = 1 << 26

var errMessage = errors.New("dbpooltest: malformed message")

// readBody reads a length and what it counts.
func readBody(in io.Reader) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n < 4 || n > mostBytes {
		return nil, errMessage
	}
	body := make([]byte, n-4)
	_, err := io.ReadFull(in, body)
	return body, err
}

// message is what a client sends. Its methods take what comes next from it, and
// nothing, as often as they are asked, from one that is too short.
type message struct {
	kind byte
	*bytes.Buffer
}

func readMessage(in io.Reader) (message, error) {
	var kind [1]byte
	if _, err := io.ReadFull(in, kind[:]); err != nil {
		return message{}, err
	}
	body, err := readBody(in)
	return message{kind[0], bytes.NewBuffer(body)}, err
}

func (m message) byte() byte {
	b, _ := m.ReadByte()
	return b
}

func (m message) text() string {
	text, _ := m.ReadBytes(0)
	return string(bytes.TrimSuffix(text, []byte{0}))
}

func (m message) int16() int16 {
	b := m.Next(2)
	if len(b) < 2 {
		return 0
	}
	return int16(binary.BigEndian.Uint16(b))
}

func (m message) int32() uint32 {
	b := m.Next(4)
	if len(b) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(b)
}

// value skips a parameter; null has the length -1.
func (m message) value() {
	if n := int32(m.int32()); n > 0 {
		m.Next(int(n))
	}
}

// writer collects messages for a client.
type writer struct {
	buf   []byte
	start int // of the length of the message that was begun
}

// take returns what was collected and begins anew.
func (o *writer) take() []byte {
	b := o.buf
	o.buf = nil
	return b
}

func (o *writer) begin(kind byte) *writer {
	o.start = len(o.buf) + 1
	o.buf = append(o.buf, kind, 0, 0, 0, 0)
	return o
}

func (o *writer) end() {
	binary.BigEndian.PutUint32(o.buf[o.start:], uint32(len(o.buf)-o.start))
}

func (o *writer) byte(b byte) *writer {
	o.buf = append(o.buf, b)
	return o
}

func (o *writer) int16(n int) *writer {
	o.buf = binary.BigEndian.AppendUint16(o.buf, uint16(n))
	return o
}

func (o *writer) int32(n uint32) *writer {
	o.buf = binary.BigEndian.AppendUint32(o.buf, n)
	return o
}

func (o *writer) text(s string) *writer {
	o.buf = append(append(o.buf, s...), 0)
	return o
}

// fail writes an error.
func (o *writer) fail(err error) {
	code, text, severity := "XX000", err.Error(), "ERROR"
	var own *Error
	var state interface{ SQLState() string }
	switch {
	case errors.As(err, &own):
		code, text, severity = own.Code, own.Message, own.severity()
	case errors.As(err, &state):
		code = state.SQLState()
	}
	o.begin('E')
	for _, field := range []string{"S" + severity, "V" + severity, "C" + code, "M" + text} {
		o.text(field)
	}
	o.byte(0).end()
}

// The types of values, by their object identifiers in PostgreSQL.
const (
	oidBool        = 16
	oidBytea       = 17
	oidInt8        = 20
	oidText        = 25
	oidFloat8      = 701
	oidTimestamptz = 1184
)

// columns writes the description of a result's columns.
func (o *writer) columns(r *Result, formats []int16) {
	o.begin('T').int16(len(r.Columns))
	for i, name := range r.Columns {
		oid := uint32(oidText)
		for _, row := range r.Rows {
			if i < len(row) && row[i] != nil {
				oid, _ = typed(row[i])
				break
			}
		}
		size := -1
		switch oid {
		case oidBool:
			size = 1
		case oidInt8, oidFloat8, oidTimestamptz:
			size = 8
		}
		o.text(name).int32(0).int16(0).int32(oid).int16(size).int32(math.MaxUint32).int16(format(formats, i))
	}
	o.end()
}

// row writes one row.
func (o *writer) row(r *Result, row []any, formats []int16) error {
	if len(row) != len(r.Columns) {
		return fmt.Errorf("dbpooltest: a row of %d values for %d columns", len(row), len(r.Columns))
	}
	o.begin('D').int16(len(row))
	for i, v := range row {
		if v == nil {
			o.int32(math.MaxUint32)
			continue
		}
		_, value := typed(v)
		var b []byte
		if format(formats, i) == 1 {
			b = binaryOf(value)
		} else {
			b = textOf(value)
		}
		o.int32(uint32(len(b)))
		o.buf = append(o.buf, b...)
	}
	o.end()
	return nil
}

// format returns that of column i: 0 text, 1 binary.
func format(formats []int16, i int) int {
	switch {
	case len(formats) == 0:
		return 0
	case len(formats) == 1:
		return int(formats[0])
	case i < len(formats):
		return int(formats[i])
	}
	return 0
}

// typed returns the type of a value, and the value as one of six types.
func typed(v any) (uint32, any) {
	switch t := v.(type) {
	case time.Time:
		return oidTimestamptz, t
	case []byte:
		return oidBytea, t
	}
	switch r := reflect.ValueOf(v); {
	case r.Kind() == reflect.Bool:
		return oidBool, r.Bool()
	case r.CanInt():
		return oidInt8, r.Int()
	case r.CanUint():
		return oidInt8, int64(r.Uint())
	case r.CanFloat():
		return oidFloat8, r.Float()
	}
	return oidText, fmt.Sprint(v)
}

// year2000 is where PostgreSQL's clock begins.
var year2000 = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func binaryOf(v any) []byte {
	switch t := v.(type) {
	case bool:
		if t {
			return []byte{1}
		}
		return []byte{0}
	case int64:
		return binary.BigEndian.AppendUint64(nil, uint64(t))
	case float64:
		return binary.BigEndian.AppendUint64(nil, math.Float64bits(t))
	case time.Time:
		return binary.BigEndian.AppendUint64(nil, uint64(t.Sub(year2000).Microseconds()))
	case []byte:
		return t
	}
	return []byte(v.(string))
}

func textOf(v any) []byte {
	switch t := v.(type) {
	case bool:
		if t {
			return []byte("t")
		}
		return []byte("f")
	case int64:
		return strconv.AppendInt(nil, t, 10)
	case float64:
		return strconv.AppendFloat(nil, t, 'g', -1, 64)
	case time.Time:
		return t.UTC().AppendFormat(nil, "2006-01-02 15:04:05.999999+00")
	case []byte:
		return []byte(`\x` + hex.EncodeToString(t))
	}
	return []byte(v.(string))
}
