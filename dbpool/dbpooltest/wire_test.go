package dbpooltest_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

// The drivers of PostgreSQL are tested with this fixture in internal/integration. Here
// is what no driver sends.

// login is a startup message, and what a client sends to begin TLS.
var (
	login = startup(3<<16, "user\x00app\x00\x00")
	tls   = startup(80877103, "")
)

func startup(code uint32, rest string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(8+len(rest)))
	return append(binary.BigEndian.AppendUint32(b, code), rest...)
}

// message is one of the frontend's messages.
func message(kind byte, body string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(4+len(body))), body...)
}

// readUntil reads messages up to one of the kind, and returns their kinds and its body.
func readUntil(t *testing.T, in io.Reader, kind byte) (kinds, body string) {
	t.Helper()
	for {
		var head [5]byte
		_, err := io.ReadFull(in, head[:])
		require.NoError(t, err)
		b := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		_, err = io.ReadFull(in, b)
		require.NoError(t, err)
		kinds += string(head[:1])
		if head[0] == kind {
			return kinds, string(b)
		}
	}
}

// connect logs in over a connection in memory.
func connect(t *testing.T, srv *dbpooltest.Server) net.Conn {
	t.Helper()
	c, err := srv.Dial(t.Context(), "", "")
	require.NoError(t, err)
	_, err = c.Write(tls)
	require.NoError(t, err)
	var answer [1]byte
	_, err = io.ReadFull(c, answer[:])
	require.NoError(t, err)
	require.Equal(t, "N", string(answer[:]))
	_, err = c.Write(login)
	require.NoError(t, err)
	kinds, status := readUntil(t, c, 'Z')
	require.Equal(t, "RSSSSSSSSSKZ", kinds)
	require.Equal(t, "I", status)
	return c
}

func send(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	_, err := c.Write(b)
	require.NoError(t, err)
}

func TestDSNIsAnAddress(t *testing.T) {
	var srv dbpooltest.Server
	var addr string
	t.Run("a test", func(t *testing.T) {
		u, err := url.Parse(srv.DSN(t))
		require.NoError(t, err)
		require.Equal(t, "postgres", u.Scheme)
		require.Equal(t, "sslmode=disable", u.RawQuery)
		addr = u.Host
		require.NotEqual(t, srv.DSN(t), srv.DSN(t))
		c, err := net.Dial("tcp", addr)
		require.NoError(t, err)
		defer c.Close()
		send(t, c, login)
		readUntil(t, c, 'Z')
		require.Equal(t, 1, srv.Stats().Open)
	})
	require.Zero(t, srv.Stats().Open, "a connection that its client left open ends with the test")
	_, err := net.Dial("tcp", addr)
	require.Error(t, err)
}

func TestWireCommandsOfAnUnknownKind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, new(dbpooltest.Server))
		defer c.Close()
		for _, m := range [][]byte{
			message('F', "a function call"),
			message('B', "portal\x00no statement\x00\x00\x00\x00\x00\x00\x00"),
			message('E', "no portal\x00\x00\x00\x00\x00"),
			message('D', "Sno statement\x00"),
			message('D', ""),
		} {
			send(t, c, m)
			send(t, c, message('E', "skipped, up to Sync"))
			send(t, c, message('S', ""))
			kinds, _ := readUntil(t, c, 'Z')
			require.Equal(t, "EZ", kinds)
		}
		send(t, c, message('Q', "select 1; -- and\n ; update a set b = 'x;y'; \x00"))
		kinds, _ := readUntil(t, c, 'Z')
		require.Equal(t, "TDCCZ", kinds)
	})
}

// A prepared statement asks for its answer when it is described, uses it at its first
// execution, and asks again at each later one.
func TestWireAsksOnceForEachExecution(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		c := connect(t, &dbpooltest.Server{Answer: func(string) (*dbpooltest.Result, error) {
			asked++
			return &dbpooltest.Result{Columns: []string{"n"}, Rows: [][]any{{asked}}}, nil
		}})
		defer c.Close()
		send(t, c, message('P', "s\x00select n\x00\x00\x00"))
		send(t, c, message('D', "Ss\x00"))
		send(t, c, message('S', ""))
		kinds, _ := readUntil(t, c, 'Z')
		require.Equal(t, "1tTZ", kinds)
		for n := range 3 {
			send(t, c, message('B', "\x00s\x00\x00\x00\x00\x00\x00\x00"))
			send(t, c, message('E', "\x00\x00\x00\x00\x00"))
			send(t, c, message('S', ""))
			kinds, row := readUntil(t, c, 'D')
			require.Equal(t, "2D", kinds)
			require.Equal(t, "\x00\x01\x00\x00\x00\x01"+string(rune('1'+n)), row)
			kinds, _ = readUntil(t, c, 'Z')
			require.Equal(t, "CZ", kinds)
		}
		require.Equal(t, 3, asked)
	})
}

// Kill tells clients why, and ends their connections.
func TestWireKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := &dbpooltest.Server{QueryTime: time.Second}
		idle, busy, deaf := connect(t, srv), connect(t, srv), connect(t, srv)
		defer deaf.Close()
		send(t, busy, message('Q', "select 1\x00"))
		synctest.Wait()
		srv.Kill()
		for _, c := range []net.Conn{idle, busy} {
			_, body := readUntil(t, c, 'E')
			require.Contains(t, body, "C57P01\x00")
			_, err := c.Read(make([]byte, 1))
			require.ErrorIs(t, err, io.EOF)
			require.NoError(t, c.Close())
		}
		time.Sleep(time.Second)
		_, err := deaf.Write([]byte("x"))
		require.ErrorIs(t, err, io.ErrClosedPipe, "whether or not it reads")
		require.Zero(t, srv.Stats().Open)
	})
}

func TestWireVanish(t *testing.T) {
	for range 20 { // what a session does next, if there are several things, is random
		synctest.Test(t, testWireVanish)
	}
}

func testWireVanish(t *testing.T) {
	srv := &dbpooltest.Server{QueryTime: time.Second}
	idle, busy := connect(t, srv), connect(t, srv)
	send(t, busy, message('Q', "select 1\x00"))
	for range 10 {
		send(t, busy, message('S', "")) // waits for the query
	}
	synctest.Wait()
	srv.Vanish()
	require.Zero(t, srv.Stats().Open)
	from := time.Now()
	synctest.Wait()
	for _, c := range []net.Conn{idle, busy} {
		require.NoError(t, c.SetDeadline(time.Now().Add(time.Minute)))
		for range 100 {
			send(t, c, message('Q', "select 1\x00")) // as into a kernel's buffer
		}
		_, err := c.Read(make([]byte, 1))
		require.ErrorContains(t, err, "timeout")
		require.NoError(t, c.Close())
	}
	require.NoError(t, connect(t, srv).Close(), "what is new works")
	synctest.Wait()
	require.Equal(t, 2*time.Minute, time.Since(from))
}

// A server ends at once with its test, whatever its connections do.
func TestWireQueryEndsWithTheTest(t *testing.T) {
	testWireQueryEnds(t, false)
	testWireQueryEnds(t, true)
}

func testWireQueryEnds(t *testing.T, vanish bool) {
	t.Helper()
	srv := &dbpooltest.Server{QueryTime: time.Hour}
	t.Run("a test", func(t *testing.T) {
		u, err := url.Parse(srv.DSN(t))
		require.NoError(t, err)
		c, err := net.Dial("tcp", u.Host)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		send(t, c, login)
		readUntil(t, c, 'Z')
		send(t, c, message('Q', "select 1\x00"))
		send(t, c, message('Q', "select 1\x00"))
		require.Eventually(t, func() bool { return srv.Stats().Queries == 1 }, 10*time.Second, time.Millisecond)
		if vanish {
			srv.Vanish()
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := new(dbpooltest.Server).Dial(ctx, "tcp", "db:5432")
	require.ErrorIs(t, err, context.Canceled)
}

// Whatever a client sends, the server neither panics nor keeps the connection once the
// client has left.
func FuzzWire(f *testing.F) {
	f.Add(login, []byte{})
	f.Add(tls, login)
	f.Add(startup(80877102, "12345678"), login)
	f.Add(startup(2<<16, ""), login)
	f.Add(login, append(message('P', "s\x00select $9\x00\x00\x00"), message('B', "\x00s\x00\xff\xff\x7f\xff\xff\xff")...))
	f.Add(login, message('Q', "select 'open"))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var srv dbpooltest.Server
		c, err := srv.Dial(t.Context(), "", "")
		require.NoError(t, err)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(io.Discard, c)
		}()
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = c.Write(first)
		_, _ = c.Write(second)
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		<-done
		if srv.Stats().Dialing > 1 {
			t.Fatal("more than one login of one client")
		}
	})
}
