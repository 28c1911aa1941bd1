package listener

import (
	"net"
	"reflect"
)

// find looks for what implements T in c and the connections that it wraps.
func find[T any](c net.Conn) (found T) {
	for t := range chain(c) {
		if f, ok := t.(T); ok {
			return f
		}
	}
	return found
}

// maxWrappers ends a chain of connections that wrap each other.
const maxWrappers = 32

// chain yields c and the connections inside it, such as that of a *tls.Conn.
func chain(c net.Conn) func(yield func(net.Conn) bool) {
	return func(yield func(net.Conn) bool) {
		for range maxWrappers {
			if c == nil || !yield(c) {
				return
			}
			c = inside(c)
		}
	}
}

// innermost returns the last connection of c's chain.
func innermost(c net.Conn) net.Conn {
	for in := range chain(c) {
		c = in
	}
	return c
}

// inside returns the connection that c wraps, nil if there is none: from the methods
// that crypto/tls (NetConn) and go-proxyproto (Raw) have, or from an exported field
// that c embeds, which is how cmux and most programs wrap a connection.
func inside(c net.Conn) net.Conn {
	switch c := c.(type) {
	case *net.TCPConn, *net.UnixConn:
		return nil
	case interface{ NetConn() net.Conn }:
		return c.NetConn()
	case interface{ Raw() net.Conn }:
		return c.Raw()
	}
	return embedded(c)
}

func embedded(c net.Conn) net.Conn {
	v := reflect.ValueOf(c)
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return nil
	}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.Anonymous || !f.IsExported() {
			continue
		}
		in, ok := v.Field(i).Interface().(net.Conn)
		if !ok || v.Field(i).Kind() == reflect.Pointer && v.Field(i).IsNil() {
			continue
		}
		return in
	}
	return nil
}
