package ttlcache

import "time"

// A Parcel is what is sealed.
type Parcel struct {
	At        uint64
	Age, Left time.Duration
	End       time.Time
	Version   uint16
	Body      []byte
}

func Seal(secret []byte, key [32]byte, p Parcel) []byte {
	s := sealer{derive(secret, "seal")}
	return s.seal(key, parcel{p.At, p.Age, p.Left, p.End, p.Version, p.Body})
}

func Open(secret []byte, key [32]byte, sealed []byte) (Parcel, bool) {
	s := sealer{derive(secret, "seal")}
	p, ok := s.open(key, sealed)
	return Parcel{p.at, p.age, p.left, p.end, p.version, p.body}, ok
}

// Remaining is how long p may be used, and how old it is.
func Remaining(p Parcel, left time.Duration, now time.Time) (life, age time.Duration) {
	return parcel{p.At, p.Age, p.Left, p.End, p.Version, p.Body}.remaining(left, now)
}

// ResolveCodec returns the codec that a cache would use.
func ResolveCodec[V any](c Codec[V]) (Codec[V], error) { return c.resolve() }

// LogBeginsAnew reports whether a verdict of position asked is stopped when the log has
// told of position told, and then of All at position all.
func LogBeginsAnew(told, all, asked uint64) bool {
	p := newPositions()
	p.add(Revocation{}, told)
	p.add(Revocation{All: true}, all)
	return p.stop(asked, digest{}, nil)
}
