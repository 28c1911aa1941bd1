package transport

import "iter"

// Stats is a snapshot of the counts of a [Reuse]. Counts of connections come from
// net/http/httptrace; with a Base that does not report there they stay 0.
type Stats struct {
	// Requests counts the requests that were made.
	Requests uint64

	// Reused counts connections given to a request that had carried one before.
	// A request that net/http sent again counts again, here or in Dialed.
	Reused uint64

	// Dialed counts connections given to the request that they were dialed for.
	// When another becomes free first, as happens in a burst, net/http keeps the
	// dialed one for later: it is never counted here, but in Reused when it is used.
	Dialed uint64

	// Failed counts requests that ended with an error instead of an answer.
	Failed uint64

	// Drained counts HTTP/1 bodies that Close read to their end.
	Drained uint64

	// DrainedBytes counts the bytes that Close read, in vain or not.
	DrainedBytes uint64

	// Abandoned counts HTTP/1 bodies closed before their end, each at the price
	// of its connection: more was left than DrainBytes, it came slower than
	// DrainTime, or another goroutine was reading.
	Abandoned uint64

	// Retired counts connections that reached MaxConnAge and were ended by their
	// next request.
	Retired uint64

	// Dropped counts connections that were closed before a request used them,
	// because another request had just ended without an answer and they had been
	// silent for as long.
	Dropped uint64

	// Leaked counts bodies that were reported to OnLeak.
	Leaked uint64

	// Waited counts requests that ColdStart made wait for another's connection.
	Waited uint64
}

// ReuseRatio returns the share of connections given to requests that had carried
// one before: Reused/(Reused+Dialed), from 0 to 1, and 0 when nothing was sent.
func (s Stats) ReuseRatio() float64 {
	if s.Reused == 0 {
		return 0
	}
	return float64(s.Reused) / (float64(s.Reused) + float64(s.Dialed))
}

func (s *Stats) add(o Stats) {
	s.Requests += o.Requests
	s.Reused += o.Reused
	s.Dialed += o.Dialed
	s.Failed += o.Failed
	s.Drained += o.Drained
	s.DrainedBytes += o.DrainedBytes
	s.Abandoned += o.Abandoned
	s.Retired += o.Retired
	s.Dropped += o.Dropped
	s.Leaked += o.Leaked
	s.Waited += o.Waited
}

// Stats returns the counts of all hosts together.
func (r *Reuse) Stats() Stats {
	var sum Stats
	for _, s := range r.Hosts() {
		sum.add(s)
	}
	return sum
}

// Hosts returns the counts of each host, named as in the URL, with the port if it
// has one; the order is random. From the 257th host on they are counted together
// under "other", so that a crawler does not grow without bound.
func (r *Reuse) Hosts() iter.Seq2[string, Stats] {
	return func(yield func(string, Stats) bool) {
		for name, s := range r.hosts.stats() {
			if !yield(name, s) {
				return
			}
		}
	}
}
