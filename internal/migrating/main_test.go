package migrating

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/connhygiene/connhygiene/dbpool/dbpooltest"
)

func TestMain(m *testing.M) {
	sql.Register("fake", new(dbpooltest.Server).Connector().Driver())
	goleak.VerifyTestMain(m,
		// The janitor of an expirable LRU cannot be stopped (hashicorp/golang-lru#159).
		goleak.IgnoreAnyFunction("github.com/hashicorp/golang-lru/v2/expirable.NewLRU[...].func1"))
}

var (
	errDown   = errors.New("connection refused")
	errDenied = errors.New("bad token")
)

// A provider of identities, which fails a few times and knows one token.
type provider struct {
	failures, asked int
}

func (p *provider) ask(_ context.Context, token string) (string, error) {
	p.asked++
	switch {
	case p.asked <= p.failures:
		return "", errDown
	case token != "good":
		return "", errDenied
	}
	return "alice", nil
}
