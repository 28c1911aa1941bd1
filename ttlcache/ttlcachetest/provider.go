package ttlcachetest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"
)

// ErrDenied is the verdict of a [Provider] on a token that it does not know.
var ErrDenied = errors.New("ttlcachetest: denied")

// Denied reports whether err is a denial of a [Provider]. It fits ttlcache.Config.Denied.
func Denied(err error) bool { return errors.Is(err, ErrDenied) }

// Provider is an identity provider for tests: slow, limited, hanging, failing or denying as
// the test says, and counting. [Provider.Load] is a load for ttlcache.New, and
// ServeHTTP the introspection endpoint of RFC 7662. The zero value answers at once and knows
// every token. It may be used by any number of goroutines and must not be copied; its fields
// must not change once it is in use. Its time is that of package time, so that it works in a
// testing/synctest bubble.
type Provider struct {
	// Took is how long one lookup takes. Zero and less: no time.
	Took time.Duration

	// Parallel is how many lookups it works on at once; others wait in line, also if
	// their caller has left, as in a real server that does not notice. Zero and less: no limit.
	// A testing/synctest bubble that ends while some are in line reports a deadlock: call
	// [Provider.Wait] at its end.
	Parallel int

	// IgnoreContext makes Load return late, and with success, although its context has
	// ended: a client without a time-out. Leave it off for a provider that does not
	// notice that its caller has left, see Parallel.
	IgnoreContext bool

	mu     sync.Mutex // guards the fields below
	idle   sync.Cond  // of mu: no lookup is worked on
	busy   int        // lookups that are worked on, those without a caller included
	users  map[string]string
	only   bool // users are all there are
	fail   error
	hung   chan struct{} // lookups wait for it to be closed; nil: none hangs
	places chan struct{} // of Parallel
	stats  ProviderStats
	asked  map[string]int
}

// ProviderStats are the counts of a [Provider].
type ProviderStats struct {
	Asked    uint64 // Asked counts lookups that were begun.
	Denied   uint64 // Denied counts answers that were a denial.
	Failed   uint64 // Failed counts answers that were another error, the end of the context included.
	Asking   int    // Asking is how many lookups are under way.
	PeakAsks int    // PeakAsks is the most that were under way at once.
}

// Know makes token that of user. After the first call all tokens that the Provider was not
// told of are denied; before it, every token is that of the user "user of TOKEN".
func (p *Provider) Know(token, user string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = make(map[string]string)
	}
	p.only, p.users[token] = true, user
}

// Forget makes token one that the Provider denies.
func (p *Provider) Forget(token string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == nil {
		p.users = make(map[string]string)
	}
	p.users[token] = ""
}

// Fail makes every lookup return err, which should be no denial; nil ends that.
func (p *Provider) Fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

// Hang makes lookups hang, those under way included, until their context ends or Hang(false).
func (p *Provider) Hang(hang bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case hang && p.hung == nil:
		p.hung = make(chan struct{})
	case !hang && p.hung != nil:
		close(p.hung)
		p.hung = nil
	}
}

// Asked returns how often the Provider was asked about token.
func (p *Provider) Asked(token string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.asked[token]
}

// Stats returns the counts until now.
func (p *Provider) Stats() ProviderStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

// Wait waits until no lookup is worked on, those whose caller has left included: call it
// at the end of a test that looks for leaked goroutines, or of a testing/synctest bubble.
func (p *Provider) Wait() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle.L = &p.mu
	for p.busy > 0 {
		p.idle.Wait()
	}
}

// Load is a lookup: it returns the user of the token, [ErrDenied], the error given to Fail,
// or the end of ctx.
func (p *Provider) Load(ctx context.Context, token string) (user string, err error) {
	places := p.begin(token)
	defer func() { p.end(err) }()
	if p.IgnoreContext {
		ctx = context.WithoutCancel(ctx)
	}
	if err := p.work(ctx, places); err != nil {
		return "", err
	}
	return p.answer(token)
}

// ServeHTTP implements the endpoint of RFC 7662 over [Provider.Load]: 200 with active true
// or false, and 503 for every error that is no verdict.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := map[string]any{"active": false}
	user, err := p.Load(r.Context(), r.PostFormValue("token"))
	switch {
	case err == nil:
		body = map[string]any{"active": true, "username": user, "sub": user}
	case !Denied(err):
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // an error here is the client's: it has left
}

func (p *Provider) begin(token string) (places chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.busy++
	p.stats.Asked++
	p.stats.Asking++
	p.stats.PeakAsks = max(p.stats.PeakAsks, p.stats.Asking)
	if p.asked == nil {
		p.asked = make(map[string]int)
	}
	p.asked[token]++
	if p.places == nil && p.Parallel > 0 {
		p.places = make(chan struct{}, p.Parallel)
	}
	return p.places
}

func (p *Provider) end(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stats.Asking--
	switch {
	case Denied(err):
		p.stats.Denied++
	case err != nil:
		p.stats.Failed++
	}
}

// work takes the time of a lookup. A place is kept to the end of it, also if the caller
// has left: that is what makes lookups without a reader cost as much as others.
func (p *Provider) work(ctx context.Context, places chan struct{}) error {
	done := make(chan struct{})
	go func() {
		defer p.rest()
		defer close(done)
		if places != nil {
			places <- struct{}{}
			defer func() { <-places }()
		}
		time.Sleep(p.Took)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		return ctx.Err()
	}
	p.mu.Lock()
	hung := p.hung
	p.mu.Unlock()
	if hung != nil {
		select {
		case <-hung:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// rest is the end of the work on one lookup.
func (p *Provider) rest() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.busy--; p.busy == 0 {
		p.idle.Broadcast()
	}
}

func (p *Provider) answer(token string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	user, told := p.users[token]
	switch {
	case p.fail != nil:
		return "", p.fail
	case told && user == "", !told && p.only:
		return "", ErrDenied
	case told:
		return user, nil
	}
	return "user of " + token, nil
}
