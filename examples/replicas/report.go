package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"
)

// table writes what the arms have come to.
func table(w io.Writer, o options, results []result) error {
	fmt.Fprintf(w, "%d agents, %d replicas, a provider of %v lookups a second: all at once take it %.1f s\n\n",
		o.agents, replicas, o.capacity, float64(o.agents)/o.capacity)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "arm\tback\tmoves\tattempts\tfailed\tlookups\tpeak\toffline\tworst\ttook\tagents\t")
	for _, r := range results {
		fmt.Fprintf(t, "%s\t%d\t%d\t%.2f\t%d\t%.2f\t%.1f\t%.2f s\t%.2f s\t%.1f s\t%v\t\n",
			r.Arm, r.Back, r.Moves, r.Attempts, r.Failed, r.Lookups, r.Peak, r.Offline, r.Worst, r.Took, r.PerServer)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
attempts and lookups are for each move, failed are attempts that gave no stream, peak is
the most lookups in 100 ms as a multiple of what the provider can do, offline is the
median and the worst time between a lost stream and the next, agents is how many each
replica has in the end.
`)
	return err
}

// progress shows how many agents are online until the returned function is called. On what
// is no terminal it shows nothing.
func progress(w io.Writer, watch *watch) (end func()) {
	f, ok := w.(*os.File)
	if !ok {
		return func() {}
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return func() {}
	}
	stop, done := make(chan struct{}), make(chan struct{})
	began := time.Now()
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				fmt.Fprintf(w, "\r  %4.0f s, %5d agents online ", time.Since(began).Seconds(), watch.online())
			case <-stop:
				fmt.Fprintf(w, "\r%40s\r", "")
				return
			}
		}
	}()
	return func() { close(stop); <-done }
}

var colours = []string{
	"#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd", "#8c564b",
	"#e377c2", "#7f7f7f", "#bcbd22", "#17becf", "#000080", "#006400",
}

// picture draws how many agents have a stream, a curve an arm.
func picture(results []result) []byte {
	const width, height, left, top = 900, 420, 60, 20
	longest, most := 1, 1
	for _, r := range results {
		longest = max(longest, len(r.Curve))
		for _, n := range r.Curve {
			most = max(most, n)
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="12">`+"\n",
		width+left+260, height+top+50)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="%d">seconds since the event (%.0f)</text>`+"\n",
		left, height+top+35, float64(longest)*tenth.Seconds())
	fmt.Fprintf(&b, `<text x="5" y="%d">%d</text><text x="5" y="%d">0 agents</text>`+"\n", top+10, most, height+top)
	for i, r := range results {
		colour := colours[i%len(colours)]
		fmt.Fprintf(&b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, colour)
		for x, n := range r.Curve {
			fmt.Fprintf(&b, "%.1f,%.1f ", left+float64(x)*width/float64(longest), top+height*(1-float64(n)/float64(most)))
		}
		fmt.Fprintf(&b, "\"/>\n<text x=\"%d\" y=\"%d\" fill=\"%s\">%s</text>\n", left+width+10, top+15+16*i, colour, r.Arm)
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
