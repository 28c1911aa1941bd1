package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// report is what is known at the end.
type report struct {
	options
	results   []storm.Result
	footprint storm.Footprint // zero if it was not measured
}

// write writes all that the flags ask for. With -json standard output is for the
// object alone.
func (r report) write(stdout, stderr io.Writer, out files) error {
	var err error
	if r.json {
		err = errors.Join(r.writeMemory(stderr), r.writeJSON(stdout))
	} else {
		err = r.writeTable(stdout)
	}
	return errors.Join(err, buffered(out.svg, r.writeSVG), buffered(out.csv, r.writeCSV), buffered(out.html, r.writeHTML))
}

// buffered writes to f, unless f is nil.
func buffered(f *os.File, write func(io.Writer) error) error {
	if f == nil {
		return nil
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush())
}

// document is what -json writes.
type document struct {
	Agents   int     `json:"agents"`
	Capacity float64 `json:"capacity"`
	Outage   float64 `json:"outage_s"`
	Deadline float64 `json:"deadline_s"`
	Bound    float64 `json:"bound_s"`
	*weather         // nil in fair weather, where the oracle is the bound
	Arms     []arm   `json:"arms"`
}

// weather is what -json says about an adversity. Times of the oracle are multiples
// of the bound, as those of the arms are.
type weather struct {
	Adversity string  `json:"adversity"`
	OracleT50 float64 `json:"oracle_t50"`
	OracleT99 float64 `json:"oracle_t99"`
	OracleAll float64 `json:"oracle_t100"`
}

// arm is a result and, under an adversity, its t99 as a multiple of the oracle's.
type arm struct {
	storm.Result
	*versus
}

type versus struct {
	OverOracle *float64 `json:"t99_over_oracle"` // null if it never came
}

// oracle is when the best policy has that share of the agents back, in bounds.
func (r report) oracle(share float64) float64 {
	return r.config.Oracle(share).Seconds() / r.config.Bound().Seconds()
}

// overOracle is an arm's t99 as a multiple of the oracle's, nil if it never came.
func (r report) overOracle(res storm.Result) *float64 {
	if res.T99 == nil {
		return nil
	}
	over := *res.T99 / r.oracle(0.99)
	return &over
}

func (r report) writeJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	c := r.config
	d := document{
		Agents: c.Agents, Capacity: c.Capacity,
		Outage: c.Outage.Seconds(), Deadline: c.Deadline.Seconds(), Bound: c.Bound().Seconds(),
		Arms: []arm{},
	}
	if c.Adversity.Foul() {
		d.weather = &weather{c.Adversity.Name, r.oracle(0.5), r.oracle(0.99), r.oracle(1)}
	}
	for _, res := range r.results {
		a := arm{Result: res}
		if c.Adversity.Foul() {
			a.versus = &versus{r.overOracle(res)}
		}
		d.Arms = append(d.Arms, a)
	}
	return e.Encode(d)
}

func (r report) writeTable(w io.Writer) error {
	c := r.config
	fmt.Fprintf(w, "%d agents, %g lookups a second, server dead for %v, deadline %v: at best all are back %v after it is up.\n",
		c.Agents, c.Capacity, c.Outage, c.Deadline, c.Bound().Round(10*time.Millisecond))
	patience := "4 of them"
	if c.Adversity.Foul() {
		fmt.Fprintf(w, "Adversity %s: %s. The best policy has 99 %% back at %.2f of that bound; vs best is t99 against it.\n",
			c.Adversity.Name, c.Adversity.Says, r.oracle(0.99))
		patience = c.Horizon().Round(100 * time.Millisecond).String()
	}
	fmt.Fprintf(w, "t50, t99, t100 are multiples of that bound; an arm is given up after %s. Seed %d", patience, c.Seed)
	if c.Guess != 1 {
		fmt.Fprintf(w, ", capacity guessed %g times", c.Guess)
	}
	fmt.Fprint(w, ".\n\n")
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "arm\tback\tt50\tt99\t"+r.ifFoul("vs best\t")+"t100\tattempts\tonce up\thandled\ttimeouts\twasted\tpeak\tdb opened\trefused\tgoodput\t")
	for _, res := range r.results {
		fmt.Fprintf(t, "%s\t%d\t%s\t%s\t%s%s\t%.2f\t%.2f\t%.2f\t%.2f\t%.2f\t%.1f\t%d\t%d\t%.2f\t\n",
			res.Arm+mark(res), res.Back, multiple(res.T50), multiple(res.T99), r.ifFoul(multiple(r.overOracle(res))+"\t"), multiple(res.T100),
			res.Attempts, res.AttemptsUp, res.ArrivalsUp, res.Timeouts, res.Wasted, res.Peak, res.DBOpened, res.DBRefused, res.Goodput)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return errors.Join(r.writeLegend(w), r.writeMemory(w))
}

// ifFoul is text under an adversity, and empty in fair weather.
func (r report) ifFoul(text string) string {
	if r.config.Adversity.Foul() {
		return text
	}
	return ""
}

func (r report) writeLegend(w io.Writer) error {
	fmt.Fprint(w, "\nattempts, once up (launched since the server is up), handled (reached the handler since then), timeouts and\n"+
		"wasted lookups are for each agent; peak is the most attempts in 100ms against what the upstream does in 100ms.\n\n")
	for _, res := range r.results {
		fmt.Fprintf(w, "%-8s %s\n", res.Arm, storm.Describe(res.Arm))
		for _, figure := range res.Figures {
			fmt.Fprintf(w, "%-8s   %s\n", "", figure)
		}
		if res.Interrupted {
			fmt.Fprintf(w, "%-8s * interrupted: what was known by then\n", "")
		}
	}
	return nil
}

// writeMemory puts the footprint beside that of a system which met the storm at
// a larger scale: Juju's controller had 48,000 agents in 3 GB.
func (r report) writeMemory(w io.Writer) error {
	if r.footprint.Agents == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\nmemory   %.1f KB on the server for each connected agent with plain HTTP keep-alive, %.1f KB with its stream\n"+
		"         (live heap and stacks, %d agents; Juju's controller: 62.5 KB)\n",
		float64(r.footprint.Idle)/1000, float64(r.footprint.Stream)/1000, r.footprint.Agents)
	return err
}

func mark(r storm.Result) string {
	if r.Interrupted {
		return "*"
	}
	return ""
}

func multiple(t *float64) string {
	if t == nil {
		return "never"
	}
	return fmt.Sprintf("%.2f", *t)
}

// writeCSV writes the time line: a row for each 100ms of each arm, from the death
// of the server on.
func (r report) writeCSV(w io.Writer) error {
	fmt.Fprintln(w, "arm,since_crash_s,since_up_s,attempts,arrivals,back")
	for _, res := range r.results {
		back := 0
		for i, bin := range res.Timeline {
			back += bin.Back
			t := (time.Duration(i) * storm.BinWidth).Seconds()
			if _, err := fmt.Fprintf(w, "%s,%.1f,%.1f,%d,%d,%d\n",
				res.Arm, t, t-r.config.Outage.Seconds(), bin.Attempts, bin.Arrivals, back); err != nil {
				return err
			}
		}
	}
	return nil
}
