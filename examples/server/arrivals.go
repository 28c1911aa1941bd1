package main

// arrivals is what the operator is told of.
type arrivals struct {
	here       int64  // streams
	turnedAway uint64 // logins that were told when to come back
}

// sayArrivals logs what has changed since last.
func (s *server) sayArrivals(last arrivals) arrivals {
	now := arrivals{here: s.streams.Load(), turnedAway: s.logins.pacer.Stats().TurnedAway}
	if now != last {
		s.log.Info("agents", "here", now.here, "were", last.here, "told to come back", now.turnedAway-last.turnedAway)
	}
	return now
}
