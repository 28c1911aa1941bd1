package grpcconn

import (
	"context"
	"errors"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/connhygiene/connhygiene/backoff"
)

// ToStatus makes a gRPC status of the error of a login. It tells a verdict, which no
// further attempt changes, from "not now":
//
//   - nil is nil.
//   - An error that denied reports to be a denial is Unauthenticated. With denied nil
//     there are none.
//   - Any other error is Unavailable, with RetryInfo if [backoff.Hint] finds out when to
//     come back, and Canceled if it is the caller that has left.
//
// The text and the code of err stay here, also if err is a status, which is that of the
// service behind: clients that have not logged in read the returned status.
func ToStatus(err error, denied func(error) bool) error {
	if err == nil {
		return nil
	}
	hint, hinted := backoff.Hint(err)
	switch {
	case denied != nil && denied(err):
		return status.Error(codes.Unauthenticated, "the credential was refused")
	case !hinted && errors.Is(err, context.Canceled):
		return status.Error(codes.Canceled, "the caller has left")
	case hinted:
		return unavailable("too many logins: come back later", hint)
	}
	return status.Error(codes.Unavailable, "no verdict: come back later")
}

// unavailable is a status that says when to come back.
func unavailable(text string, after time.Duration) error {
	st := status.New(codes.Unavailable, text)
	if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(after)}); err == nil {
		st = with
	}
	return st.Err()
}

// FromStatus marks the error of a call for package backoff, and is the other half of
// [ToStatus]: [backoff.Hint] finds a RetryInfo in its details, and Unauthenticated
// or PermissionDenied without one is [backoff.Permanent]. Other errors, and nil, are
// returned as they are. The status stays: status.Code and status.FromError find it.
func FromStatus(err error) error {
	st, ok := status.FromError(err)
	if !ok || err == nil {
		return err
	}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok && info.GetRetryDelay().AsDuration() > 0 {
			return backoff.After(info.GetRetryDelay().AsDuration(), err)
		}
	}
	if st.Code() == codes.Unauthenticated || st.Code() == codes.PermissionDenied {
		return backoff.Permanent(err)
	}
	return err
}
