package figures

import "github.com/connhygiene/connhygiene/backoff"

// Pacer returns the figures of a backoff.Pacer.
func Pacer() []Figure[backoff.PacerStats] {
	type S = backoff.PacerStats
	const p = "connhygiene.backoff.pacer."
	return []Figure[S]{
		counter(p+"entered", "{call}", "Calls of Enter that got a place.", func(s S) uint64 { return s.Entered }),
		counter(p+"finished", "{slot}", "Slots that were done.", func(s S) uint64 { return s.Finished }),
		counter(p+"canceled", "{slot}", "Slots that were canceled.", func(s S) uint64 { return s.Canceled }),
		counter(p+"turned_away", "{call}", "Calls of Enter that were told when to come back.", func(s S) uint64 { return s.TurnedAway }),
		gauge(p+"pending", "{slot}", "Slots entered and not finished.", func(s S) int { return s.Pending }),
		gauge(p+"rate", "{slot}/s", "Completions a second, as measured while all places were taken.", func(s S) float64 { return s.Rate }),
	}
}
