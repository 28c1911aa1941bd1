package dbpool

import (
	"fmt"
	"math"
	"time"
)

// The findings of [Advise], as the Code of an [Advice].
const (
	IdleBelowOpen    = "idle-below-open"     // IdleBelowOpen: connections are closed because few are kept idle, and opened again.
	PoolTooSmall     = "pool-too-small"      // PoolTooSmall: at each moment at least one caller waits for a connection to become free.
	ServerFull       = "server-full"         // ServerFull: the server refused connections, since it was full or starting.
	LifetimeTooShort = "lifetime-too-short"  // LifetimeTooShort: connections are replaced more than once a minute.
	IdleTimeTooShort = "idle-time-too-short" // IdleTimeTooShort: connections are closed for being idle more than once a minute.
	ConnectionsDie   = "connections-die"     // ConnectionsDie: more connections died than the pool has.
)

// Advice is one thing to change about a pool.
type Advice struct {
	Code    string // Code is the finding, one of the constants such as IdleBelowOpen.
	Field   string // Field is the field of Config to change.
	Suggest int    // Suggest is a value for the field, in seconds if it is a time. It is 0 if the figures yield no number.
	Text    string // Text is the finding and its remedy in words, with the figures.
}

// Advise looks at the churn of a pool with the settings c and returns the settings to
// change, the most urgent first; nothing if all is well. It is a function of its
// arguments only: it changes nothing, and nothing resizes a pool by itself. Look at
// a minute or more of ordinary load; a restart of the server within it shows.
func Advise(c Config, ch Churn) []Advice {
	c = c.withDefaults()
	var found []Advice
	add := func(a *Advice) {
		if a != nil {
			found = append(found, *a)
		}
	}
	add(serverFull(ch))
	add(idleBelowOpen(c, ch))
	add(poolTooSmall(c, ch))
	flushed := ch.Flushed * uint64(max(0, c.MaxOpen)) // at most, and by no fault of MaxLifetime
	add(tooShort(c, ch, LifetimeTooShort, "MaxLifetime", since(ch.ClosedLifetime, flushed), PgBouncer(1).MaxLifetime))
	add(tooShort(c, ch, IdleTimeTooShort, "MaxIdleTime", ch.ClosedIdleTime, Agent().MaxIdleTime))
	add(connectionsDie(c, ch))
	return found
}

func serverFull(ch Churn) *Advice {
	if ch.Overloaded == 0 {
		return nil
	}
	return &Advice{Code: ServerFull, Field: "MaxOpen", Text: fmt.Sprintf(
		"%d dials were refused by a server that was full or starting: divide its connections among all pools with Budget",
		ch.Overloaded)}
}

// idleBelowOpen: a tenth of all openings, so that a rare peak is no finding.
func idleBelowOpen(c Config, ch Churn) *Advice {
	if c.MaxIdle >= c.MaxOpen || ch.ClosedIdle == 0 || ch.ClosedIdle*10 < ch.Opened {
		return nil
	}
	return &Advice{Code: IdleBelowOpen, Field: "MaxIdle", Suggest: c.MaxOpen, Text: fmt.Sprintf(
		"%d of %d connections were closed because %d were idle already: keep MaxOpen of them idle, and let MaxIdleTime shrink the pool",
		ch.ClosedIdle, ch.Opened, max(0, c.MaxIdle))}
}

// poolTooSmall: by Little's law the callers that wait at each moment are as many as
// come in a second times the seconds that each waits. A larger pool does not help
// while the server is full.
func poolTooSmall(c Config, ch Churn) *Advice {
	if ch.Window <= 0 || ch.Overloaded > 0 {
		return nil
	}
	waiting := float64(ch.Waited) * ch.MeanWait.Seconds() / ch.Window.Seconds()
	if waiting < 1 {
		return nil
	}
	more := int(min(math.Ceil(waiting), maxSize))
	return &Advice{Code: PoolTooSmall, Field: "MaxOpen", Suggest: c.MaxOpen + more, Text: fmt.Sprintf(
		"%d callers waited %v on average, %.1f at each moment: raise MaxOpen as far as a Budget allows, or hold connections for less time",
		ch.Waited, ch.MeanWait.Round(time.Microsecond), waiting)}
}

// tooShort: once a minute for each connection there may be, which costs a few
// thousandths of its time and yet is far from what a lifetime is for.
func tooShort(c Config, ch Churn, code, field string, closed uint64, better time.Duration) *Advice {
	if ch.Window <= 0 || float64(closed) <= ch.Window.Minutes()*float64(c.MaxOpen) {
		return nil
	}
	return &Advice{Code: code, Field: field, Suggest: int(better.Seconds()), Text: fmt.Sprintf(
		"%d connections of a pool of %d were closed in %v because of %s: raise it",
		closed, c.MaxOpen, ch.Window.Round(time.Second), field)}
}

// connectionsDie: a restart of the server ends each connection once.
func connectionsDie(c Config, ch Churn) *Advice {
	if ch.ClosedBad <= uint64(max(0, c.MaxOpen)) {
		return nil
	}
	return &Advice{Code: ConnectionsDie, Field: "MaxIdleTime", Text: fmt.Sprintf(
		"%d connections of a pool of %d died: look for deadlines that end queries, each of which costs its connection,"+
			" or for something on the way that cuts idle connections, which a shorter MaxIdleTime prevents",
		ch.ClosedBad, c.MaxOpen)}
}
