package ttlcache_test

import (
	"context"
	"fmt"
	"time"

	"github.com/connhygiene/connhygiene/ttlcache"
)

// A session is what the session store says about a cookie.
type session struct {
	User, Device string
}

// sessions is the session store with a cache in front of it.
type sessions struct {
	stored map[string]session // the database
	cache  *ttlcache.Cache[string, session]
}

func newSessions() *sessions {
	s := &sessions{stored: make(map[string]session)}
	s.cache = ttlcache.New(s.find, ttlcache.Config[string, session]{TTL: time.Minute})
	return s
}

func (s *sessions) find(_ context.Context, cookie string) (session, error) {
	found, ok := s.stored[cookie]
	if !ok {
		return session{}, fmt.Errorf("no such session")
	}
	return found, nil
}

// login stores a session, whose first request then needs no lookup.
func (s *sessions) login(cookie string, user session) {
	asked := time.Now()
	s.stored[cookie] = user
	s.cache.Put(cookie, user, asked)
}

// logout changes the database first: a request in between asks again.
func (s *sessions) logout(cookie string) {
	delete(s.stored, cookie)
	s.cache.Revoke(cookie)
}

// ban ends all sessions of a user. Other replicas of the server must be told, for
// instance by a message that makes them call RevokeFunc as well.
func (s *sessions) ban(user string) int {
	for cookie, stored := range s.stored {
		if stored.User == user {
			delete(s.stored, cookie)
		}
	}
	return s.cache.RevokeFunc(func(v session) bool { return v.User == user })
}

// Revocation on logout, and of all that a user has.
func Example_logout() {
	s := newSessions()
	s.login("c1", session{"ada", "laptop"})
	s.login("c2", session{"ada", "phone"})
	s.login("c3", session{"grace", "laptop"})
	s.logout("c1")
	_, err := s.cache.Get(context.Background(), "c1")
	fmt.Println("c1:", err)
	fmt.Println("banned:", s.ban("ada"))
	_, err = s.cache.Get(context.Background(), "c2")
	fmt.Println("c2:", err)
	fmt.Println(s.cache.Get(context.Background(), "c3"))
	// Output:
	// c1: no such session
	// banned: 1
	// c2: no such session
	// {grace laptop} <nil>
}
