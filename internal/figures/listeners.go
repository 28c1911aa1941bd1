package figures

import "github.com/connhygiene/connhygiene/listener"

// Gate returns the figures of a listener.Gate.
func Gate() []Figure[listener.GateStats] {
	type S = listener.GateStats
	const p = "connhygiene.listener.gate."
	return []Figure[S]{
		counter(p+"accepted", "{connection}", "Connections accepted.", func(s S) uint64 { return s.Accepted }),
		counter(p+"reset", "{connection}", "Connections reset because the gate was shut or closed.", func(s S) uint64 { return s.Reset }),
		counter(p+"accept_errors", "{error}", "Errors that were waited out, such as EMFILE.", func(s S) uint64 { return s.AcceptErrors }),
		counter(p+"openings", "{call}", "How often the gate was opened.", func(s S) uint64 { return s.Openings }),
	}
}

// Throttled returns the figures of a listener.Throttled.
func Throttled() []Figure[listener.ThrottleStats] {
	type S = listener.ThrottleStats
	const p = "connhygiene.listener.throttle."
	return []Figure[S]{
		counter(p+"accepted", "{connection}", "Connections let in.", func(s S) uint64 { return s.Accepted }),
		counter(p+"admitted", "{connection}", "Connections that have logged in.", func(s S) uint64 { return s.Admitted }),
		{
			Name: p + "rejected", Unit: "{connection}", Help: "Connections beyond a limit.", Counter: true, Label: "reason",
			Each: func(s S, yield func(string, float64)) {
				for reason, n := range s.Rejected {
					yield(reason.String(), float64(n))
				}
			},
		},
		counter(p+"corpses", "{connection}", "Connections whose clients had left before they were let in.", func(s S) uint64 { return s.Corpses }),
		counter(p+"pending_expired", "{connection}", "Connections that took too long to log in.", func(s S) uint64 { return s.PendingExpired }),
		counter(p+"accept_errors", "{error}", "Errors that were waited out, such as EMFILE.", func(s S) uint64 { return s.AcceptErrors }),
		counter(p+"drained", "{connection}", "Connections that were told to end.", func(s S) uint64 { return s.Drained }),
		gauge(p+"open", "{connection}", "Connections that are open.", func(s S) int { return s.Open }),
		gauge(p+"pending", "{connection}", "Connections that have not logged in.", func(s S) int { return s.Pending }),
	}
}
