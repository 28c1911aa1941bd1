package main

import (
	"cmp"
	"fmt"
	"slices"
)

// A bound is something that the project demands of itself.
type bound struct {
	what               string
	measured, demanded string
	ok                 bool
	noise              bool // not ok, but nor is there a difference that benchstat sees
}

func (b bound) verdict() string {
	switch {
	case b.ok:
		return "holds"
	case b.noise:
		return "lost in noise"
	}
	return "**does not hold**"
}

func (b bound) String() string {
	return fmt.Sprintf("%s: %s, demanded %s", b.what, b.measured, b.demanded)
}

// bounds are those that the benchmarks can judge, of the benchmarks that ran.
func bounds(s stats) []bound {
	var all []bound
	for _, b := range s.named("Delay") {
		peer := b.fastest()
		limit := max(30e-9, b.seconds(peer))
		all = append(all, bound{
			"backoff: next delay",
			duration(b.seconds("ours")),
			"30 ns, or what the fastest peer takes (" + peer + " " + duration(b.seconds(peer)) + ")",
			b.seconds("ours") <= limit,
			false,
		}, atMostAllocs(b, "backoff: next delay", "ours", 0))
	}
	for _, b := range s.named("FirstTry") {
		all = append(all, bound{
			"backoff: first try succeeds", duration(b.seconds("ours")), "60 ns", b.seconds("ours") <= 60e-9, false,
		}, atMostAllocs(b, "backoff: first try succeeds", "ours", 0))
	}
	for _, b := range s.named("Retry") {
		all = append(
			all,
			ratio(b, "backoff: three failures", "ours", b.fastest(), 1),
			atMostAllocs(b, "backoff: three failures", "ours", 3),
			atMostAllocs(b, "backoff: three failures, reused", "ours-reused", 0),
		)
	}
	all = append(all, floors(s)...)
	if hits := s.named("Hit"); len(hits) > 0 {
		all = append(all, worst(hits, "ttlcache: hit", "ours", "kubernetes", 1.3))
		b := slices.MaxFunc(hits, func(x, y *benchmark) int { return cmp.Compare(x.allocs("ours"), y.allocs("ours")) })
		all = append(all, atMostAllocs(b, "ttlcache: hit", "ours", 0))
	}
	for _, b := range s.named("Request") {
		if b.name != "Request/body=read/conc=1" {
			continue // with more there is the cold start of each run in it
		}
		all = append(
			all,
			ratio(b, "transport: the wrapper on a request", "ours", "hand-pool", 1.05),
			atMostAllocs(b, "transport: the wrapper on a request", "ours", b.allocs("hand-pool")+5),
		)
	}
	for _, b := range s.named("Accept") {
		all = append(
			all,
			ratio(b, "listener: Merge and Throttle", "ours", "raw", 1.2),
			atMostAllocs(b, "listener: Merge and Throttle", "ours", b.allocs("raw")+1),
		)
	}
	for _, b := range s.named("Query") {
		all = append(
			all,
			ratio(b, "dbpool: query through our connector", "ours", "plain", 1.05),
			atMostAllocs(b, "dbpool: query through our connector", "ours", b.allocs("plain")),
		)
	}
	return all
}

// floors are bounds against the least that any library can take: three waits for a timer,
// and the keyed hash of a token. A peer that keeps tokens in clear has no such floor.
func floors(s stats) []bound {
	var all []bound
	for _, b := range s.named("Retry") {
		for _, floor := range s.named("Timer") {
			all = append(all, against(b, floor, "backoff: three failures", "hand-reused", "three waits for one timer", 2))
		}
	}
	for _, b := range s.named("Hit") {
		for _, floor := range s.named("Hash") {
			if b.name == "Hit/keys=10k/draw=uniform" { // with more keys the memory decides
				all = append(all, against(b, floor, "ttlcache: hit, 10k keys", "kubernetes", "the HMAC of the token", 2))
			}
		}
	}
	return all
}

// against is that ours takes at most so many times what a floor takes.
func against(b, floor *benchmark, what, name, is string, limit float64) bound {
	r := b.seconds("ours") / floor.seconds(name)
	return bound{what, fmt.Sprintf("%.2f of %s", r, is), fmt.Sprintf("%.2f", limit), r <= limit, false}
}

// ratio is that ours takes at most so many times what a peer takes.
func ratio(b *benchmark, what, ours, peer string, limit float64) bound {
	r := b.seconds(ours) / b.seconds(peer)
	noise := limit >= 1 && b.units["sec/op"][peer].versus == "~"
	return bound{what, fmt.Sprintf("%.2f of %s", r, peer), fmt.Sprintf("%.2f", limit), r <= limit, noise}
}

// worst is the ratio of the variant in which it is largest.
func worst(variants []*benchmark, what, ours, peer string, limit float64) bound {
	b := slices.MaxFunc(variants, func(x, y *benchmark) int {
		return cmp.Compare(x.seconds(ours)/x.seconds(peer), y.seconds(ours)/y.seconds(peer))
	})
	return ratio(b, fmt.Sprintf("%s, worst of %d: %s", what, len(variants), variant(b.name)), ours, peer, limit)
}

func atMostAllocs(b *benchmark, what, ours string, limit float64) bound {
	return bound{what, fmt.Sprintf("%.0f allocations", b.allocs(ours)), fmt.Sprintf("%.0f", limit), b.allocs(ours) <= limit, false}
}
