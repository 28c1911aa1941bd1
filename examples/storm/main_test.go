package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/internal/storm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// small is an experiment that takes a second, and has four.
var small = []string{"-agents", "10", "-capacity", "10", "-outage", "50ms", "-deadline", "20s", "-arms", "gate,planned"}

func program(ctx context.Context, args ...string) (status int, stdout, stderr string) {
	var out, err bytes.Buffer
	status = run(ctx, args, &out, &err)
	return status, out.String(), err.String()
}

func TestTable(t *testing.T) {
	dir := folder(t)
	svg, lines := filepath.Join(dir, "storm.svg"), filepath.Join(dir, "storm.csv")
	status, out, progress := program(t.Context(), append(small, "-svg", svg, "-csv", lines)...)
	require.Zero(t, status, progress)
	require.Contains(t, out, "10 agents, 10 lookups a second")
	require.Contains(t, out, "Seed 7.")
	require.Regexp(t, `(?m)^ *gate +\d+ `, out)
	require.Regexp(t, `(?m)^ *planned +10 `, out)
	require.Regexp(t, `memory +\d+\.\d KB on the server for each connected agent`, out)
	require.Regexp(t, `cache: \d+ loads`, out)
	require.Contains(t, progress, "recovering")
	require.NotContains(t, progress, "\x1b")
	checkPicture(t, svg, "gate", "planned")
	checkTimeline(t, lines, "planned", 10)
}

// checkPicture wants well-formed XML with a curve and bars for each arm.
func checkPicture(t *testing.T, path string, arms ...string) {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	d := xml.NewDecoder(bytes.NewReader(text))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
	require.Contains(t, string(text), "prefers-color-scheme: dark")
	require.NotContains(t, string(text), "NaN")
	for _, arm := range arms {
		require.Contains(t, string(text), `class="curve `+arm+`"`)
		require.Contains(t, string(text), `class="bars `+arm+`"`)
	}
}

// checkTimeline wants rows that end with all agents back.
func checkTimeline(t *testing.T, path, arm string, agents int) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Equal(t, []string{"arm", "since_crash_s", "since_up_s", "attempts", "arrivals", "back"}, rows[0])
	last := rows[len(rows)-1]
	require.Equal(t, arm, last[0])
	require.Equal(t, strconv.Itoa(agents), last[5])
}

func TestJSONStandsAlone(t *testing.T) {
	status, out, progress := program(t.Context(), append(small, "-json")...)
	require.Zero(t, status)
	require.Contains(t, progress, "KB on the server")
	var doc map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &doc))
	require.Len(t, doc, 6)
	for _, key := range []string{"agents", "capacity", "outage_s", "deadline_s", "bound_s", "arms"} {
		require.Contains(t, doc, key)
	}
	arms := doc["arms"].([]any)
	require.Len(t, arms, 2)
	require.Len(t, arms[0], 14)
	for _, key := range []string{
		"arm", "back", "t50", "t99", "t100", "attempts", "attempts_up", "arrivals_up", "timeouts",
		"wasted", "peak", "db_opened", "db_refused", "goodput",
	} {
		require.Contains(t, arms[0], key)
	}
}

// The adversity is in each output, and the figures of fair weather stay what they were.
func TestAdversity(t *testing.T) {
	dir := folder(t)
	svg, page := filepath.Join(dir, "storm.svg"), filepath.Join(dir, "storm.html")
	foul := append(slices.Clone(small), "-adversity", "crash", "-svg", svg, "-html", page)
	status, out, progress := program(t.Context(), append(foul, "-json")...)
	require.Zero(t, status, progress)
	var doc struct {
		Adversity string   `json:"adversity"`
		Bound     float64  `json:"bound_s"`
		OracleT99 *float64 `json:"oracle_t99"`
		Arms      []struct {
			T99  *float64 `json:"t99"`
			Over *float64 `json:"t99_over_oracle"`
		} `json:"arms"`
	}
	require.NoError(t, json.Unmarshal([]byte(out), &doc))
	require.Equal(t, "crash", doc.Adversity)
	require.Equal(t, 1.0, doc.Bound, "of fair weather")
	require.InDelta(t, 0.5+0.05+1, *doc.OracleT99, 1e-6)
	for _, arm := range doc.Arms {
		require.InDelta(t, *arm.T99 / *doc.OracleT99, *arm.Over, 1e-9)
	}
	checkPicture(t, svg, "gate", "planned")
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	for _, want := range []string{"the server dies again", "<svg", `data-arm="planned"`, "listener.Limits.MaxPending", "vs best"} {
		require.Contains(t, string(text), want)
	}
	for _, net := range []string{"http://", "https://", "src=", "@import", "url("} {
		require.NotContains(t, strings.ReplaceAll(string(text), "http://www.w3.org/2000/svg", ""), net)
	}
	status, out, _ = program(t.Context(), append(slices.Clone(small), "-adversity", "hasty")...)
	require.Zero(t, status)
	require.Contains(t, out, "Adversity hasty: ")
	require.Regexp(t, `(?m)^ *arm .* vs best `, out)
}

func TestAdversityIsShaded(t *testing.T) {
	a, err := storm.AdversityNamed("slow5")
	require.NoError(t, err)
	o, err := parse([]string{"-adversity", "slow5"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, a, o.config.Adversity)
	var svg strings.Builder
	require.NoError(t, report{options: o}.writeSVG(&svg))
	require.Contains(t, svg.String(), `class="foul"`)
	require.Contains(t, svg.String(), "adversity: slow5")
	o, err = parse([]string{"-adversity", "bound100"}, io.Discard)
	require.NoError(t, err)
	require.Equal(t, 4.0, o.config.Capacity)
}

func TestBadFlagsAreOneLineAndStatusTwo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	for _, bad := range [][]string{
		{"-agents", "-1"},
		{"-agents", "0"},
		{"-agents", "2000000"},
		{"-capacity", "0"},
		{"-capacity", "NaN"},
		{"-outage", "10m"},
		{"-outage", "-1s"},
		{"-deadline", "0s"},
		{"-guess", "0"},
		{"-guess", "100"},
		{"-arms", "nice"},
		{"-arms", "gate,gate"},
		{"-deadline", "100h"},
		{"-parallel", "0"},
		{"-explain", "-json"},
		{"-csv", "same", "-svg", "same"},
		{"-max-connections", "-4"},
		{"-addr", taken.Addr().String()},
		{"-svg", "/nowhere/storm.svg"},
		{"-csv", "/nowhere/storm.csv"},
		{"-html", "/nowhere/storm.html"},
		{"-html", "same", "-svg", "same"},
		{"-adversity", "sunny"},
		{"-adversity", "hang", "-agents", "60"}, // longer than the horizon of 4s
		{"-adversity", "bound10", "-capacity", "7"},
	} {
		t.Run(strings.Join(bad, " "), func(t *testing.T) {
			status, out, message := program(t.Context(), append([]string{"-arms", "gate"}, bad...)...)
			require.Equal(t, 2, status)
			require.Empty(t, out)
			require.Equal(t, 1, strings.Count(message, "\n"), message)
			require.Contains(t, message, bad[0])
			require.Contains(t, message, strings.TrimPrefix(bad[1], "gate,"))
			require.Contains(t, message, "must be")
		})
	}
}

func TestUnreadableFlagIsStatusTwo(t *testing.T) {
	status, _, message := program(t.Context(), "-agents", "many")
	require.Equal(t, 2, status)
	require.Equal(t, 1, strings.Count(message, "\n"))
	status, _, _ = program(t.Context(), "gate")
	require.Equal(t, 2, status)
}

func TestHelp(t *testing.T) {
	status, out, _ := program(t.Context(), "-h")
	require.Zero(t, status)
	for _, name := range storm.Arms() {
		require.Contains(t, out, storm.Describe(name))
	}
	for _, a := range storm.Adversities() {
		require.Regexp(t, `(?m)^  `+a.Name+` .*`+regexp.QuoteMeta(a.Says)+`$`, out)
	}
}

func TestExplain(t *testing.T) {
	status, out, _ := program(t.Context(), "-explain", "-agents", "800", "-capacity", "60", "-max-connections", "100")
	require.Zero(t, status)
	for name, value := range map[string]string{
		"bound": "13.33s", "regime": "capacity-limited, then gap-limited", "livelock": "yes", "gaps": "yes", "Splay": "13.33s", "SetWindow": "13.33s", "listener.Limits.MaxPending": "12",
		"MaxHint": "2m13.33s", "TTL": "1m0s", "MaxLoads": "12", "AuthPath": "12", "dbpool.Server, API": "48", "dbpool.Server, internal": "24", "memory": "20.0 MB",
	} {
		require.Regexp(t, `(?m)^\S*`+name+` +`+value+` `, out)
	}
	status, out, _ = program(t.Context(), "-explain", "-agents", "200000", "-capacity", "60")
	require.Zero(t, status, "descriptors are no limit: it plays nothing")
	require.Regexp(t, `(?m)^regime +capacity-limited `, out)
	require.Regexp(t, `(?m)^gaps +no `, out)
	require.Regexp(t, `(?m)^livelock +yes .*most never come back`, out)
	status, out, _ = program(t.Context(), "-explain", "-agents", "60", "-capacity", "60")
	require.Zero(t, status)
	require.Regexp(t, `(?m)^regime +gap-limited .*gate and planned`, out)
	require.Regexp(t, `(?m)^livelock +no .*24/s`, out)
	status, out, _ = program(t.Context(), "-explain", "-agents", "600", "-capacity", "60")
	require.Zero(t, status)
	require.Regexp(t, `(?m)^livelock +yes .*others come late`, out)
	status, out, message := program(t.Context(), "-explain", "-max-connections", "5")
	require.Equal(t, 2, status)
	require.Empty(t, out)
	require.Contains(t, message, "-max-connections 5")
}

func TestInterruptedEndsWithWhatIsKnown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	status, out, _ := program(ctx, "-json")
	require.Zero(t, status)
	require.Contains(t, out, `"arms"`)

	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	svg := filepath.Join(folder(t), "storm.svg")
	var stdout bytes.Buffer
	atOutage := onWrite(func(progress []byte) {
		if bytes.Contains(progress, []byte("naive    down")) {
			cancel()
		}
	})
	status = run(ctx, []string{"-svg", svg}, &stdout, atOutage)
	require.Zero(t, status)
	require.Contains(t, stdout.String(), "interrupted: what was known by then")
	checkPicture(t, svg, "naive")
}

// onWrite is a writer that only looks.
type onWrite func([]byte)

func (f onWrite) Write(p []byte) (int, error) {
	f(p)
	return len(p), nil
}

func TestBar(t *testing.T) {
	require.Equal(t, "gate     [###############...............]   200/400 recovering   5.0s",
		bar(storm.Progress{Arm: "gate", Phase: storm.Recovering, Back: 200, Agents: 400, Elapsed: 5e9}))
	require.Contains(t, bar(storm.Progress{Arm: "gate", Agents: 400}), "waiting")
}
