package backoff_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/connhygiene/connhygiene/backoff"
)

// trailer stands for google.golang.org/grpc/metadata.MD, which a client gets by
// the call option grpc.Trailer.
type trailer map[string][]string

// pushback reads grpc-retry-pushback-ms (gRPC A6) into err: a number of milliseconds
// is when to come back, and anything else means never.
func pushback(md trailer, err error) error {
	values := md["grpc-retry-pushback-ms"]
	if err == nil || len(values) == 0 {
		return err
	}
	ms, bad := strconv.ParseInt(values[0], 10, 32)
	if bad != nil || ms < 0 {
		return backoff.Permanent(err)
	}
	// Zero is "at once", which backoff takes for no hint.
	return backoff.After(max(time.Duration(ms)*time.Millisecond, time.Millisecond), err)
}

// gRPC's pushback, which its Go client obeys to the millisecond and without jitter,
// as a hint.
func Example_grpc() {
	unavailable := errors.New("rpc error: code = Unavailable")
	answers := []trailer{
		{"grpc-retry-pushback-ms": {"5"}},
		{"grpc-retry-pushback-ms": {"-1"}},
	}
	call := func(context.Context) error {
		md := answers[0]
		answers = answers[1:]
		return pushback(md, unavailable)
	}
	b := backoff.Backoff{OnWait: func(e backoff.Event) { fmt.Println("hinted:", e.Hinted) }}
	for b.Next(context.Background()) {
		b.Fail(call(context.Background()))
	}
	fmt.Println(b.Err())
	// Output:
	// hinted: true
	// backoff: permanent failure after 2 attempts: rpc error: code = Unavailable
}
