package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const good = `{"agents":40,"capacity":60,"outage_s":1,"deadline_s":1.5,"bound_s":0.67,"arms":[
{"arm":"gate","back":40,"t50":0.5,"t99":1,"t100":null,"attempts":1,"attempts_up":1,"arrivals_up":1,"timeouts":0,
"wasted":0,"peak":1,"db_opened":2,"db_refused":0,"goodput":0.9,"interrupted":true}]}`

func TestCheck(t *testing.T) {
	require.NoError(t, check(strings.NewReader(good), []string{"gate"}))
	for name, c := range map[string]struct{ old, new, want string }{
		"a missing figure":     {`"peak":1,`, ``, "peak is missing"},
		"a missing top":        {`"bound_s":0.67,`, ``, "bound_s is missing"},
		"a null":               {`"goodput":0.9`, `"goodput":null`, "goodput is <nil>"},
		"an agent missing":     {`"back":40`, `"back":39`, "39 of 40"},
		"another arm":          {`"arm":"gate"`, `"arm":"naive"`, "want gate"},
		"a word before":        {`{"agents"`, `done {"agents"`, "no JSON object"},
		"a word after":         {`]}`, `]} done`, "more than one object"},
		"arms of no kind":      {`"arms":[`, `"arms":null,"x":[`, "want 1 objects"},
		"no oracle":            {`"agents":40,`, `"agents":40,"adversity":"hang",`, "oracle_t50 is missing"},
		"an unnamed adversity": {`"agents":40,`, `"agents":40,"adversity":7,`, "adversity is 7"},
		"an arm without its oracle": {
			`"agents":40,`, `"agents":40,"adversity":"hang","oracle_t50":1,"oracle_t99":1,"oracle_t100":1,`, "t99_over_oracle is missing",
		},
		"a figure in words": {`"agents":40`, `"agents":"40"`, "agents is 40"},
	} {
		t.Run(name, func(t *testing.T) {
			broken := strings.Replace(good, c.old, c.new, 1)
			require.NotEqual(t, good, broken)
			require.ErrorContains(t, check(strings.NewReader(broken), []string{"gate"}), c.want)
		})
	}
}
