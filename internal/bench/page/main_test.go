package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// csvOf is what benchstat -format csv -col /lib writes.
const csvOf = `goos: linux
cpu: Some Processor
,ours,,slow,,,,quick,,,
,sec/op,CI,sec/op,CI,vs base,P,sec/op,CI,vs base,P
Delay-2,2e-08,3%,4e-08,1%,+100.00%,p=0.000 n=8,1e-08,2%,-50.00%,p=0.000 n=8
Accept-2,1.5e-06,∞
geomean,1e-07,,2e-08,,+1%,,3e-08,,-1%,

,ours,,slow,,,,quick,,,
,allocs/op,CI,allocs/op,CI,vs base,P,allocs/op,CI,vs base,P
Delay-2,0,0%,3,0%,?,p=0.000 n=8,1,0%,?,p=0.000 n=8
`

func TestRender(t *testing.T) {
	s, err := parse(strings.NewReader(csvOf))
	require.NoError(t, err)
	require.Len(t, s, 2)
	require.Equal(t, []string{"ours", "slow", "quick"}, s[0].libs)
	require.Equal(t, "quick", s[0].fastest())
	require.Equal(t, strings.TrimSpace(`
| | time | bytes | allocations |
|---|---|---|---|
| ours | 20 ns ± 3% | 0 | 0 |
| slow | 40 ns ± 1% (+100.00%) | 0 | 3 |
| quick | **10 ns ± 2% (-50.00%)** | 0 | 1 |
`), render(s.named("Delay")))
}

func TestVariant(t *testing.T) {
	require.Equal(t, "time", variant("Delay"))
	require.Equal(t, "keys 10k zipf", variant("Hit/keys=10k/draw=zipf"))
	require.Equal(t, "unread, 64", variant("Request/body=unread/conc=64"))
}

func TestBounds(t *testing.T) {
	s, err := parse(strings.NewReader(csvOf))
	require.NoError(t, err)
	s = s[:1]
	for _, b := range bounds(s) {
		require.Equal(t, "holds", b.verdict(), b)
	}
	s[0].units["sec/op"]["ours"] = figure{median: 31e-9}
	s[0].units["allocs/op"]["ours"] = figure{median: 1}
	for _, b := range bounds(s) {
		require.Equal(t, "**does not hold**", b.verdict(), b)
	}
	b := &benchmark{units: map[string]map[string]figure{"sec/op": {"ours": {median: 3}, "peer": {median: 2, versus: "~"}}}}
	require.Equal(t, "lost in noise", ratio(b, "", "ours", "peer", 1.2).verdict())
	require.Equal(t, "holds", ratio(b, "", "ours", "peer", 1.5).verdict())
}

func TestBadCSV(t *testing.T) {
	_, err := parse(strings.NewReader(",ours,\n,sec/op,CI\nDelay-2,fast,1%\n"))
	require.ErrorContains(t, err, "Delay-2")
}
