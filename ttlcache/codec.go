package ttlcache

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// A Codec turns verdicts into bytes and back, so that a [Tier] can keep them. The zero
// Codec is JSON, as encoding/json does it: numbers in an interface come back as float64.
// With the zero Codec, [New] panics if V has a field that JSON would leave out. Both
// functions are called on the goroutines of loads, several at once.
type Codec[V any] struct {
	// Version is of the encoding. Bytes of another version are a miss, so count it up
	// when V changes its meaning, and replicas of both versions can run side by side.
	Version uint16

	// Encode returns the bytes of a verdict. A verdict for which it returns an error is
	// not shared. Nil is JSON.
	Encode func(V) ([]byte, error)

	// Decode returns the verdict of bytes that Encode has returned, here or on another
	// replica. An error is a miss. Nil is JSON.
	Decode func([]byte) (V, error)
}

// resolve returns c with its defaults. It returns an error if c contradicts itself, or
// if the default would lose a part of V.
func (c Codec[V]) resolve() (Codec[V], error) {
	if (c.Encode == nil) != (c.Decode == nil) {
		return c, fmt.Errorf("Config.Codec has only one of Encode and Decode")
	}
	if c.Encode != nil {
		return c, nil
	}
	if lost := lostInJSON(reflect.TypeFor[V](), nil); lost != "" {
		return c, fmt.Errorf("Config.Codec is nil and JSON would lose %s", lost)
	}
	c.Encode = func(v V) ([]byte, error) { return json.Marshal(v) }
	c.Decode = func(b []byte) (v V, err error) {
		err = json.Unmarshal(b, &v)
		return v, err
	}
	return c, nil
}

// lostInJSON names what of t does not survive JSON, or returns "". The types in seen
// have been looked at.
func lostInJSON(t reflect.Type, seen map[reflect.Type]bool) string {
	if seen == nil {
		seen = make(map[reflect.Type]bool)
	}
	if seen[t] || marshals(t) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return t.String()
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return t.String()
		}
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return lostInJSON(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			promoted := f.Anonymous && f.Type.Kind() == reflect.Struct
			if !f.IsExported() && !promoted || f.Tag.Get("json") == "-" {
				return t.String() + "." + f.Name
			}
			if lost := lostInJSON(f.Type, seen); lost != "" {
				return lost
			}
		}
	}
	return ""
}

// marshals reports whether t writes itself.
func marshals(t reflect.Type) bool {
	for _, m := range []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()} {
		if t.Implements(m) || reflect.PointerTo(t).Implements(m) {
			return true
		}
	}
	return false
}
