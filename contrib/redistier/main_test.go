package redistier_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/contrib/redistier"
)

func TestMain(m *testing.M) {
	// rueidis waits up to a second before it looks at the cluster again, and five before it
	// closes the connections to nodes that have gone, also after Close.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

// A server is a redis-server of one test, on a port of its own.
type server struct {
	address string
	port    int
	dir     string
	args    []string
	cmd     *exec.Cmd
}

// redis starts a redis-server that ends with the test.
func redis(tb testing.TB, args ...string) *server {
	tb.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		if os.Getenv("CONNHYGIENE_SERVICES") == "required" {
			tb.Fatal("redis-server is required and not installed")
		}
		tb.Skip("redis-server is not installed")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(tb, err)
	port := l.Addr().(*net.TCPAddr).Port
	require.NoError(tb, l.Close())
	s := &server{address: l.Addr().String(), port: port, dir: tb.TempDir(), args: args}
	s.start(tb)
	tb.Cleanup(s.kill)
	return s
}

func (s *server) start(tb testing.TB) {
	tb.Helper()
	s.cmd = exec.Command("redis-server", append([]string{
		"--port", fmt.Sprint(s.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
		"--dir", s.dir, "--daemonize", "no",
	}, s.args...)...)
	require.NoError(tb, s.cmd.Start())
	require.Eventually(tb, func() bool {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, 20*time.Second, 5*time.Millisecond)
}

func (s *server) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// tier returns a tier on s that ends with the test.
func (s *server) tier(tb testing.TB, c redistier.Config) *redistier.Tier {
	tb.Helper()
	c.Option.InitAddress = []string{s.address}
	tier, err := redistier.New(c)
	require.NoError(tb, err)
	tb.Cleanup(tier.Close)
	return tier
}

// client is for what an operator or an attacker does.
func (s *server) client(tb testing.TB) rueidis.Client {
	tb.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, DisableCache: true})
	require.NoError(tb, err)
	tb.Cleanup(c.Close)
	return c
}

func (s *server) do(tb testing.TB, words ...string) rueidis.RedisResult {
	tb.Helper()
	c := s.client(tb)
	return c.Do(context.Background(), c.B().Arbitrary(words...).Build())
}
