package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// storms plays the incident with lookups that are queries: nobody polite, and then
// a polite server.
func storms(ctx context.Context, o options, db *database, out io.Writer) error {
	if o.agents == 0 {
		return nil
	}
	connector, err := db.connector()
	if err != nil {
		return err
	}
	c := storm.Config{
		Agents: o.agents, Capacity: 60, Outage: time.Second, Deadline: 1500 * time.Millisecond,
		Connector: shared{connector},
	}
	c.Outage = min(c.Outage, c.Horizon())
	c.Query = fmt.Sprintf("select count(*) from pg_sleep(%.3f) where $1 <> ''", c.Service().Seconds())
	fmt.Fprintf(out, "The storm: %d agents lose their server for %v, and %g lookups a second can be had; at best all are back in %v.\n",
		c.Agents, c.Outage, c.Capacity, c.Bound().Round(10*time.Millisecond))
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "arm\tback\t99 % after\tattempts each\ttimeouts each\topened by PostgreSQL\trefused\t")
	for _, arm := range []string{"naive", "gate"} {
		r, err := storm.Run(ctx, c, arm, nil)
		if err != nil {
			return err
		}
		after := "never"
		if r.T99 != nil {
			after = fmt.Sprintf("%.2f", *r.T99)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%.2f\t%.2f\t%d\t%d\t\n", r.Arm, r.Back, after, r.Attempts, r.Timeouts, r.DBOpened, r.DBRefused)
	}
	return table.Flush()
}
