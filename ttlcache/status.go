package ttlcache

import (
	"errors"
	"net/http"
	"time"
)

// retryAfter is the hint for an error that has none.
const retryAfter = time.Second

// Status returns the HTTP status for an error of [Cache.Get]: 200 if err is nil, 401 if it
// is a denial, as [Config.Denied] says, and 503 for every other error, since that is no
// verdict: the credential may be good. With 503, retryAfter is the time after which the
// client should come back: that of a RetryAfter() time.Duration in the tree of err, or a
// second. It is not rounded; a Retry-After header needs whole seconds, rounded up.
func (c *Cache[C, V]) Status(err error) (code int, retryAfter time.Duration) {
	switch {
	case err == nil:
		return http.StatusOK, 0
	case c.isDenial(err):
		return http.StatusUnauthorized, 0
	}
	return http.StatusServiceUnavailable, hint(err)
}

// isDenial reports whether an error of the load, or of Get, is a verdict. Errors of the
// cache itself never are, even if Denied reports them.
func (c *Cache[C, V]) isDenial(err error) bool {
	var panicked *PanicError
	if ofContext(err) || errors.As(err, &panicked) {
		return false
	}
	for _, own := range []error{ErrOverloaded, ErrRevoked, ErrNoKey, ErrNoLoad, ErrLoadTimeout, errGoexit} {
		if errors.Is(err, own) {
			return false
		}
	}
	return c.config.Denied(err)
}

func hint(err error) time.Duration {
	var h interface{ RetryAfter() time.Duration }
	if errors.As(err, &h) {
		if d := h.RetryAfter(); d > 0 {
			return d
		}
	}
	return retryAfter
}
