package figures

import "github.com/connhygiene/connhygiene/transport"

// Reuse returns the figures of a transport.Reuse.
func Reuse() []Figure[transport.Stats] {
	type S = transport.Stats
	const p = "connhygiene.transport."
	return []Figure[S]{
		counter(p+"requests", "{request}", "Requests that were made.", func(s S) uint64 { return s.Requests }),
		counter(p+"reused", "{connection}", "Connections given to a request that had carried one before.", func(s S) uint64 { return s.Reused }),
		counter(p+"dialed", "{connection}", "Connections given to their first request.", func(s S) uint64 { return s.Dialed }),
		counter(p+"failed", "{request}", "Requests that ended with an error instead of an answer.", func(s S) uint64 { return s.Failed }),
		counter(p+"drained_bodies", "{body}", "Bodies that Close read to their end.", func(s S) uint64 { return s.Drained }),
		counter(p+"drained", "By", "Bytes that Close read.", func(s S) uint64 { return s.DrainedBytes }),
		counter(p+"abandoned", "{body}", "Bodies closed before their end, each at the price of its connection.", func(s S) uint64 { return s.Abandoned }),
		counter(p+"retired", "{connection}", "Connections that reached their age.", func(s S) uint64 { return s.Retired }),
		counter(p+"dropped", "{connection}", "Connections that were closed unused, since another had just died in silence.", func(s S) uint64 { return s.Dropped }),
		counter(p+"leaked", "{body}", "Bodies that nobody closed.", func(s S) uint64 { return s.Leaked }),
		counter(p+"waited", "{request}", "Requests that waited for the connection of another.", func(s S) uint64 { return s.Waited }),
	}
}
