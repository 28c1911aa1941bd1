package main

import (
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/connhygiene/connhygiene/internal/storm"
)

// The picture's measures, in pixels. Both halves share the axis of time.
const (
	left, right   = 64, 668 // of the plots; figures stand to the right of them
	width         = 880
	top, bottom   = 56, 336 // of the upper plot
	stripsTop     = 424
	strip, gap    = 44, 14 // height of a strip, and space below it
	mostShown     = 6.0    // strips end at so many times the line C
	barWidth100ms = 0.92   // of a bin
)

// ink is a colour on a light and on a dark page.
type ink struct{ light, dark string }

// page returns the inks of what is not an arm, by its class.
func page() map[string]ink {
	return map[string]ink{
		"page": {"#ffffff", "#0d1117"}, "text": {"#1f2328", "#e6edf3"}, "faint": {"#59636e", "#9198a1"}, "dead": {"#eef1f4", "#1a2029"}, "foul": {"#fff1d6", "#33270f"},
		"grid": {"#d8dee4", "#30363d"}, "bound": {"#1f2328", "#e6edf3"}, "capacity": {"#cf222e", "#ff7b72"},
	}
}

// armInks returns the inks of the arms, the failing ones warm.
func armInks() map[string]ink {
	return map[string]ink{
		"naive": {"#d1242f", "#ff7b72"}, "pmm": {"#b35900", "#f0883e"}, "client": {"#8a6d00", "#e3b341"}, "rate2": {"#bf3989", "#ff9bce"},
		"gate": {"#0969da", "#58a6ff"}, "pacer": {"#0b7a75", "#39c5cf"}, "cache": {"#6e7781", "#b1bac4"}, "window": {"#1a7f37", "#56d364"}, "planned": {"#8250df", "#bc8cff"},
	}
}

// shapes is the part of the style sheet that has no colours. The dashes tell
// curves apart that lie on each other.
const shapes = `text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif } .small { font-size: 12px } .title { font-size: 15px; font-weight: 600 }
.grid, .bound, .capacity, .curve { fill: none } .bound { stroke-width: 1.5; stroke-dasharray: 3 4 } .capacity { stroke-dasharray: 5 3 }
.curve { stroke-width: 2.2; stroke-linejoin: round }
.curve.pmm { stroke-dasharray: 10 3 2 3 } .curve.client { stroke-dasharray: 6 3 }
.curve.pacer { stroke-dasharray: 9 4 } .curve.cache { stroke-dasharray: 1 3 } .curve.window { stroke-dasharray: 4 3 } .curve.planned { stroke-dasharray: 2 4 }
`

// style follows the reader's choice of a light or a dark page.
func style() string {
	return shapes + rules(func(i ink) string { return i.light }) +
		"@media (prefers-color-scheme: dark) {\n" + rules(func(i ink) string { return i.dark }) + "}\n"
}

func rules(colour func(ink) string) string {
	var b strings.Builder
	inks, arms := page(), armInks()
	for _, class := range slices.Sorted(maps.Keys(inks)) {
		property, selector := "fill", "."+class
		switch class {
		case "grid", "bound", "capacity":
			property = "stroke"
		case "text":
			selector = class
		}
		fmt.Fprintf(&b, "%s { %s: %s }\n", selector, property, colour(inks[class]))
	}
	for _, arm := range slices.Sorted(maps.Keys(arms)) {
		fmt.Fprintf(&b, ".curve.%s { stroke: %[2]s } .bars.%[1]s { fill: %[2]s }\n", arm, colour(arms[arm]))
	}
	return b.String()
}

// picture draws a report.
type picture struct {
	strings.Builder
	report
	from, to float64 // of the axis of time, in multiples of the bound
}

// writeSVG draws the share of agents that are back against the bound, and the
// attempts in each 100ms against the capacity.
func (r report) writeSVG(w io.Writer) error {
	p := &picture{report: r, from: -r.config.Outage.Seconds() / r.config.Bound().Seconds(), to: r.end()}
	height := stripsTop + len(r.results)*(strip+gap) + 48
	p.add(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">`, width, height, width, height)
	p.add(`<title>%d agents come back to a server that was dead for %v</title>`, r.config.Agents, r.config.Outage)
	p.add(`<style>%s</style>`, style())
	p.add(`<rect width="100%%" height="100%%" class="page"/>`)
	p.shares()
	p.attempts()
	p.add(`</svg>`)
	_, err := io.WriteString(w, p.String())
	return err
}

// end is where the axis ends: after the last arm that came back, or where it is
// plain that the others do not.
func (r report) end() float64 {
	end := 1.6
	for _, res := range r.results {
		if res.T100 != nil {
			end = max(end, *res.T100+0.1)
		}
	}
	return min(end, r.config.Horizon().Seconds()/r.config.Bound().Seconds())
}

func (p *picture) add(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

func (p *picture) text(x, y float64, class, anchor, format string, args ...any) {
	p.add(`<text x="%.1f" y="%.1f" class="%s" text-anchor="%s">%s</text>`, x, y, class, anchor, fmt.Sprintf(format, args...))
}

func (p *picture) line(class string, x1, y1, x2, y2 float64) {
	p.add(`<path class="%s" d="M%.1f %.1fL%.1f %.1f"/>`, class, x1, y1, x2, y2)
}

// x is where a time is, in multiples of the bound since the server is up.
func (p *picture) x(t float64) float64 { return left + (t-p.from)/(p.to-p.from)*(right-left) }

// share is where a share of the agents is.
func share(s float64) float64 { return bottom - s*(bottom-top) }

// since is the time of the end of a bin.
func (p *picture) since(bin int) float64 {
	return p.from + float64(bin)*storm.BinWidth.Seconds()/p.config.Bound().Seconds()
}

// shares is the upper half.
func (p *picture) shares() {
	c := p.config
	p.text(left, 26, "title", "start", "Agents that have their stream again, of %d", c.Agents)
	p.phases(top, bottom)
	for s := 0.0; s <= 1; s += 0.25 {
		p.line("grid", left, share(s), right, share(s))
		p.text(left-8, share(s)+4, "small faint", "end", "%.0f %%", 100*s)
	}
	p.ticks(bottom)
	p.text((left+right)/2, bottom+38, "small faint", "middle", "time since the server is up, in multiples of the bound agents/capacity = %d/%g per s = %.3g s", c.Agents, c.Capacity, c.Bound().Seconds())
	for _, res := range p.results {
		p.curve(res)
	}
	p.oracle()
	p.legend()
}

// oracle is the bound, or under an adversity what the best policy could do.
func (p *picture) oracle() {
	const steps = 200
	var d strings.Builder
	for i := range steps + 1 {
		s := float64(i) / steps
		fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(i, 1)], p.x(p.report.oracle(s)), share(s))
	}
	p.add(`<path class="bound" d="%s"/>`, d.String())
}

// phases shades the outages and the adversity.
func (p *picture) phases(y1, y2 float64) {
	c := p.config
	p.phase("dead", "server dead", storm.Span{From: -c.Outage}, y1, y2)
	p.phase("dead", "server dead again", c.SecondOutage(), y1, y2)
	p.phase("foul", "adversity: "+c.Adversity.Name, c.BadPhase(), y1, y2)
}

// phase shades a stretch of time, and says what it is if there is room.
func (p *picture) phase(class, says string, s storm.Span, y1, y2 float64) {
	bound := p.config.Bound().Seconds()
	from, to := p.x(s.From.Seconds()/bound), min(p.x(s.To.Seconds()/bound), right)
	w := to - from
	if w <= 0 {
		return
	}
	p.add(`<rect class="%s" x="%.1f" y="%.1f" width="%.1f" height="%.1f"/>`, class, from, y1, w, y2-y1)
	if y2-y1 > strip && w > 16 {
		p.add(`<text transform="translate(%.1f %.1f) rotate(-90)" class="small faint" text-anchor="middle">%s</text>`, from+w/2+4, (y1+y2)/2, says)
	}
}

// ticks labels the axis of time below y.
func (p *picture) ticks(y float64) {
	step := 0.25
	if p.to > 2 {
		step = 0.5
	}
	for t := 0.0; t <= p.to; t += step {
		p.line("grid", p.x(t), y, p.x(t), y+5)
		p.text(p.x(t), y+20, "small faint", "middle", "%g", t)
	}
}

// curve is an arm's share of agents over time, up to the end of the axis.
func (p *picture) curve(res storm.Result) {
	var d strings.Builder
	back := 0
	fmt.Fprintf(&d, "M%.1f %.1f", p.x(p.from), share(0))
	for i, bin := range res.Timeline {
		back += bin.Back
		if p.since(i+1) > p.to {
			break
		}
		fmt.Fprintf(&d, "L%.1f %.1f", p.x(p.since(i+1)), share(float64(back)/float64(p.config.Agents)))
	}
	if back == p.config.Agents {
		fmt.Fprintf(&d, "H%d", right)
	}
	p.add(`<path class="curve %s" data-arm="%[1]s" d="%s"/>`, res.Arm, d.String())
}

func (p *picture) legend() {
	const x, swatch = right + 18, 26
	y := float64(top + 4)
	p.line("bound", x, y, x+swatch, y)
	p.text(x+swatch+8, y+4, "", "start", "best")
	p.text(width-12, y+4, "small faint", "end", "99 %% at %.2f", p.report.oracle(0.99))
	for _, res := range p.results {
		y += 30
		p.add(`<g data-arm="%s">`, res.Arm)
		p.add(`<path class="curve %s" d="M%d %.1fh%d"/>`, res.Arm, x, y, swatch)
		p.text(x+swatch+8, y+4, "", "start", "%s", res.Arm)
		p.text(width-12, y+4, "small faint", "end", "%s", outcome(res))
		p.add(`</g>`)
	}
}

func outcome(res storm.Result) string {
	if res.T99 == nil {
		return fmt.Sprintf("%d back", res.Back)
	}
	return fmt.Sprintf("99 %% at %.2f", *res.T99)
}

// attempts is the lower half: a strip for each arm.
func (p *picture) attempts() {
	perBin := p.config.Capacity * storm.BinWidth.Seconds()
	p.text(left, stripsTop-24, "title", "start", "Attempts in each 100 ms; the dashed line is the capacity, %.3g", perBin)
	y := float64(stripsTop)
	for _, res := range p.results {
		p.strip(res, y, perBin)
		y += strip + gap
	}
	p.ticks(y - gap)
	p.text((left+right)/2, y-gap+38, "small faint", "middle", "time since the server is up, in multiples of the bound")
}

func (p *picture) strip(res storm.Result, y, perBin float64) {
	floor := y + strip
	p.add(`<g data-arm="%s">`, res.Arm)
	defer p.add(`</g>`)
	p.phases(y, floor)
	p.add(`<path class="bars %s" d="%s"/>`, res.Arm, p.bars(res, floor, perBin))
	p.line("grid", left, floor, right, floor)
	p.line("capacity", left, floor-strip/mostShown, right, floor-strip/mostShown)
	p.text(left-8, floor-strip/mostShown+4, "small faint", "end", "%.3g", perBin)
	p.text(left-8, y+9, "small faint", "end", "%.3g", mostShown*perBin)
	p.text(right+18, y+20, "", "start", "%s", res.Arm)
	p.text(width-12, y+20, "small faint", "end", "peak %.1f x", res.Peak)
	p.text(right+18, y+37, "small faint", "start", "%.2f attempts an agent", res.Attempts)
}

// bars are cut at mostShown; the peak stands beside them in figures.
func (p *picture) bars(res storm.Result, floor, perBin float64) string {
	var d strings.Builder
	for i, bin := range res.Timeline {
		if bin.Attempts == 0 || p.since(i+1) > p.to {
			continue
		}
		h := strip / mostShown * math.Min(float64(bin.Attempts)/perBin, mostShown)
		w := p.x(p.since(i+1)) - p.x(p.since(i))
		fmt.Fprintf(&d, "M%.1f %.1fv-%.1fh%.1fv%.1fz", p.x(p.since(i)), floor, h, w*barWidth100ms, h)
	}
	return d.String()
}
