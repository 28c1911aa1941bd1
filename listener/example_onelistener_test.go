package listener_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"sync"

	"github.com/connhygiene/connhygiene/listener"
	"github.com/connhygiene/connhygiene/listener/listenertest"
)

// rpcServer is like grpc.Server: it takes one listener, asks for its address
// before it accepts, and shows its handlers no more than the address of the peer.
type rpcServer struct {
	login    func(peer net.Addr)
	handlers sync.WaitGroup
}

func (s *rpcServer) Serve(l net.Listener) error {
	fmt.Println("serving", l.Addr())
	defer s.handlers.Wait()
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		s.handlers.Go(func() {
			defer c.Close()
			if name, err := bufio.NewReader(c).ReadString('\n'); err == nil {
				s.login(c.RemoteAddr())
				fmt.Fprint(c, "hello ", name)
			}
		})
	}
}

// A server in the manner of gRPC: two ports behind the one listener that it takes,
// and logins told by AdmitAddr.
func Example_oneListener() {
	private, agents := listenertest.New(), listenertest.New()
	public := listener.Throttle(listener.NewGate(agents), listener.Limits{MaxPending: 20})
	both := listener.Merge(private, public)
	srv := &rpcServer{login: func(peer net.Addr) { public.AdmitAddr(peer) }}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(both) }()

	c, _ := private.Dial(context.Background())
	fmt.Fprintln(c, "controller")
	answer, _ := bufio.NewReader(c).ReadString('\n')
	fmt.Print(answer)
	_, _ = c.Close(), both.Close()
	fmt.Println(<-served)
	// Output:
	// serving listenertest
	// hello controller
	// accept pipe listenertest: use of closed network connection
}
