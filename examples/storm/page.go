package main

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"strings"

	"github.com/connhygiene/connhygiene/internal/storm"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"says": storm.Describe}).Parse(pageText))

// writeHTML writes the report as one page that needs nothing beside itself: no
// network, no framework.
func (r report) writeHTML(w io.Writer) error {
	var svg strings.Builder
	if err := r.writeSVG(&svg); err != nil {
		return err
	}
	settings, err := recommend(r.config, r.maxConnections)
	if err != nil {
		return err
	}
	c := r.config
	return pageTemplate.Execute(w, map[string]any{
		"Title":     fmt.Sprintf("A storm of %d agents", c.Agents),
		"Config":    c,
		"Bound":     fmt.Sprintf("%.3g s", c.Bound().Seconds()),
		"Foul":      c.Adversity.Foul(),
		"Oracle":    fmt.Sprintf("%.2f", r.oracle(0.99)),
		"Picture":   template.HTML(svg.String()), //nolint:gosec // numbers and the names of arms
		"Heads":     r.heads(),
		"Rows":      r.rows(),
		"Settings":  settings,
		"Footprint": r.footprint,
	})
}

// row is an arm in the table of the page.
type row struct {
	Arm, Says   string
	Cells       []string
	Figures     []string
	Interrupted bool
}

// heads are the columns of the table, after the arm's.
func (r report) heads() []string {
	heads := []string{"back", "t50", "t99", "t100"}
	if r.config.Adversity.Foul() {
		heads = append(heads, "vs best")
	}
	return append(heads, "attempts", "once up", "handled", "time-outs", "wasted", "peak", "db opened", "refused", "goodput")
}

func (r report) rows() []row {
	var rows []row
	for _, res := range r.results {
		cells := []string{fmt.Sprint(res.Back), multiple(res.T50), multiple(res.T99), multiple(res.T100)}
		if r.config.Adversity.Foul() {
			cells = append(cells, multiple(r.overOracle(res)))
		}
		for _, v := range []float64{res.Attempts, res.AttemptsUp, res.ArrivalsUp, res.Timeouts, res.Wasted} {
			cells = append(cells, fmt.Sprintf("%.2f", v))
		}
		cells = append(cells, fmt.Sprintf("%.1f", res.Peak), fmt.Sprint(res.DBOpened), fmt.Sprint(res.DBRefused), fmt.Sprintf("%.2f", res.Goodput))
		rows = append(rows, row{res.Arm, storm.Describe(res.Arm), cells, res.Figures, res.Interrupted})
	}
	return rows
}
