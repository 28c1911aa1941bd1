//go:build linux

package integration_test

import (
	"context"
	"encoding/base64"
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The page of examples/storm -html opens from a file in a browser: it shows something,
// reports no error, prints, and an arm that is switched off is gone from it.
func TestStormPageInABrowser(t *testing.T) {
	b := startBrowser(t)
	page := stormPage(t)
	b.open("file://" + page)

	require.Equal(t, 2, b.number(`document.querySelectorAll("#arms input").length`))
	require.Equal(t, 2, b.shown("path.curve[data-arm]"))
	require.Equal(t, 1, b.shown(`path.curve[data-arm="gate"]`))
	require.Equal(t, 1, b.shown("#adversity"))
	require.Positive(t, b.shown("#settings tr"))
	require.LessOrEqual(t, b.number("document.documentElement.scrollWidth - window.innerWidth"), 0, "nothing beyond the edge")
	before := b.screenshot()
	require.Greater(t, colours(before), 20, "a blank page has one")

	b.evaluate(`document.querySelector("#arms input[value=gate]").click()`)
	require.Zero(t, b.shown(`[data-arm="gate"]`), "curve, legend, strip and rows")
	require.Equal(t, 1, b.shown(`path.curve[data-arm="planned"]`))
	require.Greater(t, differing(before, b.screenshot()), 200, "pixels")

	b.evaluate(`document.querySelector("#arms input[value=gate]").click()`)
	require.Equal(t, 1, b.shown(`path.curve[data-arm="gate"]`))

	require.Greater(t, len(b.pdf()), 10_000)
	require.Empty(t, b.complaints())
}

// stormPage plays a small storm and returns the path of its page.
func stormPage(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	program, page := filepath.Join(dir, "storm"), filepath.Join(dir, "storm.html")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, "go", "build", "-o", program, "github.com/connhygiene/connhygiene/examples/storm").CombinedOutput()
	require.NoError(t, err, "%s", out)
	out, err = exec.CommandContext(ctx, program, "-agents", "40", "-capacity", "60", "-outage", "500ms",
		"-adversity", "crash", "-arms", "gate,planned", "-html", page).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return page
}

// shown is how many elements that match are visible.
func (b *browser) shown(selector string) int {
	b.t.Helper()
	return b.number("[...document.querySelectorAll(`" + selector + "`)].filter(e => e.getClientRects().length > 0).length")
}

// screenshot is what the window shows.
func (b *browser) screenshot() image.Image {
	b.t.Helper()
	var shot struct{ Data string }
	b.call("Page.captureScreenshot", map[string]any{"format": "png"}, &shot)
	img, err := png.Decode(base64.NewDecoder(base64.StdEncoding, strings.NewReader(shot.Data)))
	require.NoError(b.t, err)
	if path := os.Getenv("CONNHYGIENE_SCREENSHOT"); path != "" {
		f, err := os.Create(path)
		require.NoError(b.t, err)
		require.NoError(b.t, png.Encode(f, img))
		require.NoError(b.t, f.Close())
	}
	return img
}

// pdf is the page as it would be printed.
func (b *browser) pdf() []byte {
	b.t.Helper()
	var doc struct{ Data string }
	b.call("Page.printToPDF", map[string]any{"printBackground": true}, &doc)
	pdf, err := base64.StdEncoding.DecodeString(doc.Data)
	require.NoError(b.t, err)
	require.True(b.t, strings.HasPrefix(string(pdf), "%PDF-"))
	return pdf
}

func colours(img image.Image) int {
	seen := map[color.Color]bool{}
	for y := range img.Bounds().Dy() {
		for x := range img.Bounds().Dx() {
			seen[img.At(x, y)] = true
		}
	}
	return len(seen)
}

func differing(a, b image.Image) int {
	n := 0
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			if a.At(x, y) != b.At(x, y) {
				n++
			}
		}
	}
	return n
}
