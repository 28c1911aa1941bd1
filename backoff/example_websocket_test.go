package backoff_test

import (
	"errors"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// closeError is the end of a WebSocket, such as websocket.CloseError of coder/websocket.
type closeError struct{ code int }

func (e closeError) Error() string { return fmt.Sprintf("websocket closed with %d", e.code) }

// lostWebSocket is what to tell Backoff.Fail about the end of a WebSocket. The codes are
// those of RFC 6455 and of the registry of the IANA.
func lostWebSocket(err error) error {
	var closed closeError
	if !errors.As(err, &closed) {
		return err // the network: splay or schedule
	}
	switch closed.code {
	case 1002, 1003, 1007, 1008, 1009: // protocol, data, policy: the next attempt would end the same
		return backoff.Permanent(err)
	case 1012: // the service restarts
		return backoff.After(5*time.Second, err)
	case 1013: // try again later
		return backoff.After(30*time.Second, err)
	}
	return err
}

// The close codes of a WebSocket, as marks.
func Example_webSocket() {
	for _, code := range []int{1001, 1008, 1012, 1013} {
		err := lostWebSocket(closeError{code})
		d, _ := backoff.Hint(err)
		fmt.Println(code, errors.Is(err, backoff.ErrPermanent), d)
	}
	// Output:
	// 1001 false 0s
	// 1008 true 0s
	// 1012 false 5s
	// 1013 false 30s
}
