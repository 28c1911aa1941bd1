package main

import (
	"context"
	"errors"
	"strconv"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/connhygiene/connhygiene/backoff"
)

// The names of metadata: the agent's token, and how long its fleet needs to come back.
const (
	tokenKey  = "authorization"
	windowKey = "reconnect-window-ms"
)

// authenticate lets agents log in before they get their stream. Calls that are no
// streams, such as a health check, pass; their connections stay pending.
func (s *server) authenticate(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	ctx := stream.Context()
	if err := s.login(ctx); err != nil {
		return err
	}
	if p, ok := peer.FromContext(ctx); ok {
		s.listener.Public.AdmitAddr(p.Addr) // its place is free for the next; false on the private port
	}
	if s.config.fleet > 0 {
		window := strconv.FormatInt(s.pacer.Window(s.config.fleet).Milliseconds(), 10)
		if err := stream.SetHeader(metadata.Pairs(windowKey, window)); err != nil {
			return err
		}
	}
	return handler(srv, stream)
}

// login asks who the agent is, if there is room. Its error is a status.
func (s *server) login(ctx context.Context) error {
	slot, err := s.pacer.Enter()
	if err != nil {
		return statusOf(err)
	}
	if _, err := s.tokens.Get(ctx, tokenOf(ctx)); err != nil {
		slot.Cancel()
		return statusOf(err)
	}
	slot.Done()
	return nil
}

func tokenOf(ctx context.Context) string {
	md, _ := metadata.FromIncomingContext(ctx)
	if tokens := md.Get(tokenKey); len(tokens) > 0 {
		return tokens[0]
	}
	return ""
}

// statusOf tells a verdict, which no further attempt changes, from "not now", with
// RetryInfo if it is known when.
func statusOf(err error) error {
	if errors.Is(err, errBadToken) {
		return status.Error(codes.Unauthenticated, err.Error())
	}
	st := status.New(codes.Unavailable, err.Error())
	if d, ok := backoff.Hint(err); ok {
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(d)}); err == nil {
			st = with
		}
	}
	return st.Err()
}

// hintOf is the other half of statusOf: it marks what the server has said for backoff.
func hintOf(err error) error {
	st, ok := status.FromError(err)
	if !ok {
		return err
	}
	if st.Code() == codes.Unauthenticated {
		return backoff.Permanent(err)
	}
	for _, detail := range st.Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return backoff.After(info.GetRetryDelay().AsDuration(), err)
		}
	}
	return err
}
