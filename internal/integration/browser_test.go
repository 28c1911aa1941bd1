//go:build linux

package integration_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/internal/integration/service"
)

// browser is a headless Chromium with one page, driven over a pipe in the DevTools
// protocol: messages are JSON objects that end in a zero byte.
type browser struct {
	t       *testing.T
	in      io.Writer
	out     *bufio.Reader
	session string
	calls   int
	events  []event
}

// event is a message that nobody asked for, or an answer.
type event struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// browserLimit bounds everything that a test does with a browser.
const browserLimit = 2 * time.Minute

// startBrowser skips the test, or fails it where services are required, if there is
// no Chromium.
func startBrowser(t *testing.T) *browser {
	t.Helper()
	program, err := exec.LookPath("google-chrome") // what GitHub's runners have
	if err != nil {
		program = service.Find(t, "chromium", "chromium")
	}
	commands, in, err := os.Pipe()
	require.NoError(t, err)
	out, answers, err := os.Pipe()
	require.NoError(t, err)
	var complaints bytes.Buffer
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage",
		"--window-size=1280,1600", "--remote-debugging-pipe", "--user-data-dir="+t.TempDir())
	cmd.ExtraFiles = []*os.File{commands, answers} // its descriptors 3 and 4
	cmd.Stderr = &complaints
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	_ = commands.Close()
	_ = answers.Close()
	kill := func() { _ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	limit := time.AfterFunc(browserLimit, kill)
	t.Cleanup(func() {
		limit.Stop()
		kill() // with all its children, which write to what is removed next
		_ = cmd.Wait()
		_ = in.Close()
		_ = out.Close()
		if t.Failed() {
			t.Logf("chromium: %s", complaints.String())
		}
	})
	return &browser{t: t, in: in, out: bufio.NewReader(out)}
}

// open loads a page and waits until it is complete.
func (b *browser) open(url string) {
	b.t.Helper()
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	for _, domain := range []string{"Page", "Runtime", "Log", "Network"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	b.await("Page.loadEventFired")
}

// call asks for something and waits for the answer.
func (b *browser) call(method string, params map[string]any, answer any) {
	b.t.Helper()
	b.calls++
	message := map[string]any{"id": b.calls, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	require.NoError(b.t, err)
	_, err = b.in.Write(append(text, 0))
	require.NoError(b.t, err)
	for {
		e := b.read()
		if e.ID != b.calls {
			continue
		}
		require.Nil(b.t, e.Error, "%s: %v", method, e.Error)
		if answer != nil {
			require.NoError(b.t, json.Unmarshal(e.Result, answer))
		}
		return
	}
}

// read is the next message; events are kept.
func (b *browser) read() event {
	b.t.Helper()
	text, err := b.out.ReadBytes(0)
	require.NoError(b.t, err, "the browser has ended, or the test took longer than %v", browserLimit)
	var e event
	require.NoError(b.t, json.Unmarshal(text[:len(text)-1], &e))
	if e.Method != "" {
		b.events = append(b.events, e)
	}
	return e
}

func (b *browser) await(method string) {
	b.t.Helper()
	for _, e := range b.events {
		if e.Method == method {
			return
		}
	}
	for b.read().Method != method {
	}
}

// evaluate runs a line in the page. An exception in it fails the test.
func (b *browser) evaluate(expression string) json.RawMessage {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": expression, "returnByValue": true}, &answer)
	require.Empty(b.t, string(answer.ExceptionDetails), expression)
	return answer.Result.Value
}

// number is the value of an expression.
func (b *browser) number(expression string) int {
	b.t.Helper()
	var n int
	require.NoError(b.t, json.Unmarshal(b.evaluate(expression), &n), expression)
	return n
}

// complaints are what a developer would see in the console, and whatever the page
// loaded beside itself.
func (b *browser) complaints() []string {
	var all []string
	for _, e := range b.events {
		switch e.Method {
		case "Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled":
			all = append(all, fmt.Sprintf("%s %s", e.Method, e.Params))
		case "Network.requestWillBeSent":
			var sent struct {
				Request struct{ URL string }
				Type    string
			}
			if err := json.Unmarshal(e.Params, &sent); err != nil || sent.Type != "Document" {
				all = append(all, fmt.Sprintf("request for %.100s", sent.Request.URL))
			}
		}
	}
	return all
}
