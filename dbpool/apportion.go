package dbpool

import (
	"cmp"
	"math"
	"slices"
)

// apportion divides n in proportion to the weights, within Min and Max of each
// share, and rounds by largest remainders. The sum of all Min is at most n.
//
// Where a share's part would be outside its limits, the share is given its limit,
// and the others divide the rest. In each round either those at their Min or those
// at their Max are settled, whichever are off by more in sum, which is how CSS
// resolves the lengths of flexible boxes: it ends with all parts proportional that
// are not at a limit.
func apportion(n int, shares []Share) []int {
	sizes := make([]int, len(shares))
	open := make([]int, len(shares)) // indices of those that are not settled
	for i := range open {
		open[i] = i
	}
	for len(open) > 0 {
		parts := divide(n, open, shares)
		low, high := 0.0, 0.0
		for k, i := range open {
			low += max(0, float64(shares[i].Min)-parts[k])
			high += max(0, parts[k]-float64(shares[i].Max))
		}
		if low == 0 && high == 0 {
			round(n, open, parts, sizes)
			break
		}
		var rest []int
		for k, i := range open {
			switch {
			case low >= high && parts[k] < float64(shares[i].Min):
				sizes[i] = shares[i].Min
			case high >= low && parts[k] > float64(shares[i].Max):
				sizes[i] = shares[i].Max
			default:
				rest = append(rest, i)
				continue
			}
			n -= sizes[i]
		}
		open = rest
	}
	return sizes
}

// divide returns the exact parts of n for the shares that are open.
func divide(n int, open []int, shares []Share) []float64 {
	var sum float64
	for _, i := range open {
		sum += shares[i].Weight
	}
	parts := make([]float64, len(open))
	for k, i := range open {
		parts[k] = float64(n) * (shares[i].Weight / sum)
	}
	return parts
}

// round gives each share the whole part of its part, and the rest of n, one each,
// to those with the largest remainders; the first of equals is first.
func round(n int, open []int, parts []float64, sizes []int) {
	order := make([]int, len(open))
	for k, i := range open {
		order[k] = k
		sizes[i] = int(parts[k])
		n -= sizes[i]
	}
	remainder := func(k int) float64 { return parts[k] - math.Floor(parts[k]) }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(remainder(b), remainder(a)) })
	for _, k := range order[:min(max(n, 0), len(order))] {
		sizes[open[k]]++
	}
}
