package transporttest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/connhygiene/connhygiene/transport"
)

// A Server is an HTTP server that counts its connections. It closes when its test
// ends. Its methods may be called from any number of goroutines. A nil handler is
// http.DefaultServeMux, as in net/http.
type Server struct {
	// URL is where the server is, such as http://127.0.0.1:4711, without a slash
	// at the end.
	URL string

	tb     testing.TB
	client *http.Client
	http   http.Server
	serve  sync.WaitGroup
	log    *testLog
	conns  conns

	mortals mortals
}

// NewServer starts a server that speaks HTTP/1 on the loopback interface.
func NewServer(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := newServer(tb, handler)
	l := listen(tb)
	s.start("http://"+l.Addr().String(), func() error { return s.http.Serve(s.mortal(l)) })
	return s
}

// NewTLSServer starts a server that speaks HTTP/1 over TLS on the loopback
// interface. Its certificate is known to Client.
func NewTLSServer(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := newServer(tb, handler)
	s.startTLS()
	return s
}

// NewHTTP2Server starts a server that speaks HTTP/2 over TLS on the loopback
// interface, and HTTP/1 to clients that do not. Its certificate is known to Client.
func NewHTTP2Server(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := newServer(tb, handler)
	s.http.Protocols.SetHTTP2(true)
	s.startTLS()
	return s
}

// NewPipeServer starts a server that speaks HTTP/1 in memory, through buffers like
// those of sockets. It works inside a testing/synctest bubble. Only Client reaches
// it, or a transport with the DialContext of Client's.
func NewPipeServer(tb testing.TB, handler http.Handler) *Server {
	tb.Helper()
	s := newServer(tb, handler)
	l := newPipeListener()
	s.client.Transport.(*http.Transport).DialContext = l.dial
	s.start("http://pipe.test", func() error { return s.http.Serve(s.mortal(l)) })
	return s
}

func newServer(tb testing.TB, handler http.Handler) *Server {
	s := &Server{tb: tb, log: &testLog{tb: tb}}
	t := transport.New(100)
	t.Proxy = s.conns.called
	s.client = &http.Client{Transport: t}
	s.conns.idle = sync.NewCond(&s.conns.mu)
	s.http.Handler = s.conns.count(handler)
	s.http.ConnContext = s.conns.opened
	s.http.ConnState = s.conns.changed
	s.http.ErrorLog = log.New(s.log, "", 0)
	s.http.Protocols = new(http.Protocols)
	s.http.Protocols.SetHTTP1(true)
	return s
}

func (s *Server) start(url string, serve func() error) {
	s.URL = url
	s.serve.Go(func() { _ = serve() }) // http.ErrServerClosed, from Close
	s.tb.Cleanup(s.Close)
}

func (s *Server) startTLS() {
	s.tb.Helper()
	l := listen(s.tb)
	cert := certificate(s.tb)
	s.http.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	roots := x509.NewCertPool()
	roots.AddCert(cert.Leaf)
	s.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: roots}
	s.start("https://"+l.Addr().String(), func() error { return s.http.ServeTLS(s.mortal(l), "", "") })
}

// Client returns the client of this server, always the same. It trusts the
// server's certificate and is nothing special otherwise: its Transport is
// transport.New(100), an *http.Transport, which drains no bodies but those that
// net/http does itself. Use it as the Base of a transport.Reuse, or copy its
// TLSClientConfig and DialContext.
func (s *Server) Client() *http.Client { return s.client }

// Conns returns how many connections the server has accepted so far, also those
// that are closed and those that carried no request.
func (s *Server) Conns() int {
	conns, _ := s.conns.counts()
	return conns
}

// Requests returns how many requests the handler was called for so far.
func (s *Server) Requests() int {
	_, requests := s.conns.counts()
	return requests
}

// WantConns fails the test if the server has accepted more than most connections.
// The failure names the requests of each connection and the one cause of its end;
// connections with the same story are one line.
func (s *Server) WantConns(most int) {
	s.tb.Helper()
	if report := s.conns.report(most); report != "" {
		s.tb.Errorf("%s", report)
	}
}

// Close closes the server and all of its connections, those included that a handler
// took over (Hijack), and waits for handlers that still run: they see the context of
// their request end. It may be called more than once; the end of the test calls it too.
func (s *Server) Close() {
	s.client.CloseIdleConnections()
	_ = s.http.Close()
	s.mortals.close()
	s.serve.Wait()
	s.conns.close()
	s.log.close()
}

func (s *Server) mortal(l net.Listener) net.Listener { return mortalListener{l, &s.mortals} }

func listen(tb testing.TB) net.Listener {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		l, err = net.Listen("tcp6", "[::1]:0")
	}
	if err != nil {
		tb.Fatalf("transporttest: no loopback interface: %v", err)
	}
	return l
}

// certificate makes one for the loopback interface, good for a day.
func certificate(tb testing.TB) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatalf("transporttest: %v", err)
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IsCA:                  true,
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		tb.Fatalf("transporttest: %v", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatalf("transporttest: %v", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A testLog shows the server's log, such as a handler's panic, in that of the
// test while it runs.
type testLog struct {
	mu sync.Mutex // guards the field below, and that its test does not end during a line: it would panic
	tb testing.TB
}

var _ io.Writer = (*testLog)(nil)

func (l *testLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tb != nil {
		l.tb.Logf("transporttest: %s", line)
	}
	return len(line), nil
}

func (l *testLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tb = nil
}
