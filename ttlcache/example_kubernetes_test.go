package ttlcache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A tokenReview is what a webhook says about a bearer token, as in the API group
// authentication.k8s.io.
type tokenReview struct {
	Username string
	Groups   []string
}

var errUnauthenticated = errors.New("the token is not authenticated")

// review stands for the webhook. It answers an unknown token without an error of its
// own, and that answer is a verdict.
func review(_ context.Context, q tokenQuestion) (tokenReview, error) {
	if q.token == "eyJhbGciOi" && slices.Contains(q.audiences, "https://kubernetes.default.svc") {
		return tokenReview{"system:serviceaccount:monitoring:agent", []string{"system:serviceaccounts"}}, nil
	}
	return tokenReview{}, errUnauthenticated
}

// A tokenQuestion is the token and whatever else decides about the verdict.
type tokenQuestion struct {
	token     string
	audiences []string
}

// key writes how many audiences there are, so that none can pass for two.
func (q tokenQuestion) key(h *ttlcache.Hash) {
	h.String(q.token)
	h.Uint64(uint64(len(q.audiences)))
	for _, a := range q.audiences {
		h.String(a)
	}
}

// Bearer tokens as the Kubernetes API server treats them: a success is remembered, a
// failure briefly, and a webhook that is away is neither. What it adds to that cache
// is a bound on both, and on the webhook's calls.
func Example_kubernetes() {
	reviews := ttlcache.New(review, ttlcache.Config[tokenQuestion, tokenReview]{
		Key:         func(h *ttlcache.Hash, q tokenQuestion) { q.key(h) },
		TTL:         10 * time.Second, // --token-success-cache-ttl of old
		Denied:      func(err error) bool { return errors.Is(err, errUnauthenticated) },
		DenyTTL:     time.Second,
		LoadTimeout: 30 * time.Second,
	})
	for _, header := range []string{"Bearer eyJhbGciOi", "Bearer eyJhbGciOi", "Bearer guess"} {
		token := strings.TrimPrefix(header, "Bearer ")
		user, err := reviews.Get(context.Background(), tokenQuestion{token, []string{"https://kubernetes.default.svc"}})
		fmt.Println(user.Username, user.Groups, err)
	}
	fmt.Println(reviews.Stats().Loads, "reviews")
	// Output:
	// system:serviceaccount:monitoring:agent [system:serviceaccounts] <nil>
	// system:serviceaccount:monitoring:agent [system:serviceaccounts] <nil>
	//  [] the token is not authenticated
	// 2 reviews
}
