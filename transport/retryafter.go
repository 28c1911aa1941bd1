package transport

import (
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers in which a server says when to come back. The second is not
// standard; servers send it because whole seconds make clients come back in step.
const (
	retryAfter   = "Retry-After"
	retryAfterMs = "Retry-After-Ms"
)

// RetryAfter returns how long the server asks to wait, and reports whether it
// does. Retry-After-Ms in milliseconds, being finer, wins over Retry-After in
// seconds or as a date; a value that cannot be read counts as absent. A date counts from
// the Date header, the same clock, and without one from now. A time that is past or
// negative is 0, one that overflows is the longest Duration, and a time between
// two nanoseconds is the later one: the result is never short.
func RetryAfter(h http.Header) (time.Duration, bool) {
	if d, ok := parseDelay(h.Get(retryAfterMs), time.Millisecond); ok {
		return d, true
	}
	v := h.Get(retryAfter)
	if d, ok := parseDelay(v, time.Second); ok {
		return d, true
	}
	at, err := http.ParseTime(strings.TrimSpace(v))
	if err != nil {
		return 0, false
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return max(at.Sub(now), 0), true // Sub saturates
}

// SetRetryAfter asks the client to come back in d: it sets Retry-After in whole
// seconds and Retry-After-Ms in milliseconds, both rounded up. A d of 0 or less
// removes both.
func SetRetryAfter(h http.Header, d time.Duration) {
	if d <= 0 {
		h.Del(retryAfter)
		h.Del(retryAfterMs)
		return
	}
	h.Set(retryAfter, roundUp(d, time.Second))
	h.Set(retryAfterMs, roundUp(d, time.Millisecond))
}

func roundUp(d, unit time.Duration) string {
	n := d / unit
	if d%unit > 0 {
		n++
	}
	return strconv.FormatInt(int64(n), 10)
}

// parseDelay reads a decimal number of units: digits, perhaps a sign before and
// a fraction after them. strconv.ParseFloat would do, were it not for NaN, Inf,
// exponents and the precision of a large number.
func parseDelay(s string, unit time.Duration) (time.Duration, bool) {
	s = strings.TrimSpace(s)
	digits := strings.TrimPrefix(strings.TrimPrefix(s, "-"), "+")
	if strings.HasPrefix(s, "-+") {
		return 0, false
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if whole == "" || !allDigits(whole) || !allDigits(fraction) {
		return 0, false
	}
	if s[0] == '-' {
		return 0, true
	}
	n, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return math.MaxInt64, true
	}
	d := time.Duration(n) * unit
	part := parseFraction(fraction, unit)
	if d > math.MaxInt64-part {
		return math.MaxInt64, true
	}
	return d + part, true
}

// parseFraction returns 0.digits of a unit, rounded up to the nanosecond.
func parseFraction(digits string, unit time.Duration) time.Duration {
	var d time.Duration
	for i := range len(digits) {
		digit := time.Duration(digits[i] - '0')
		if unit < 10 {
			if strings.Trim(digits[i:], "0") != "" {
				d++ // less than a nanosecond is left
			}
			break
		}
		unit /= 10
		d += digit * unit
	}
	return d
}

func allDigits(s string) bool {
	return strings.Trim(s, "0123456789") == ""
}

// MarkRetryable lets net/http send req again, on another connection, if the idle
// connection it was sent on turns out to be dead: a POST is otherwise lost when
// the server closes the connection at the same moment (golang/go#19943). It sends
// no header: an Idempotency-Key without a value is net/http's documented mark for
// this, and one with a value stays as it is. A request with a body needs GetBody
// too, which http.NewRequest sets for the bodies it knows.
//
// The server may see such a request twice, if the connection died after the
// server had read it: mark only requests that may be executed twice. And if the connection
// ends while net/http is still writing the request, the request fails, marked or not: retry
// it yourself as well, with package backoff for instance.
func MarkRetryable(req *http.Request) {
	const key = "Idempotency-Key"
	if req.Header == nil {
		req.Header = make(http.Header)
	}
	if _, ok := req.Header[key]; !ok {
		req.Header[key] = []string{}
	}
}
