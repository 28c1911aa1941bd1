package ttlcache_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

const (
	modelTTL   = 10 * time.Second
	modelDeny  = 4 * time.Second
	modelStale = 5 * time.Second
)

// A model is a Cache written down in the simplest way: no bounds, one caller at a time,
// and loads that take no time.
type model struct {
	now      time.Time
	verdicts map[byte]verdict
	revoked  map[byte]time.Time // by key
	users    map[byte]time.Time // by what was said
	denied   map[byte]time.Time
	cleared  time.Time
}

type verdict struct {
	user   byte
	denied bool
	asked  time.Time
	lasts  time.Duration // the last hold-off
	passes time.Time     // when it ends
}

func (m *model) fresh(k byte) (verdict, bool) {
	v, ok := m.verdicts[k]
	life := modelTTL
	if v.denied {
		life = modelDeny
	}
	return v, ok && m.now.Before(v.asked.Add(life))
}

func (m *model) stale(k byte) (byte, bool) {
	v, ok := m.verdicts[k]
	return v.user, ok && !v.denied && m.now.Before(v.asked.Add(modelTTL+modelStale))
}

func (m *model) get(k byte, p upstream) (user byte, err error) {
	if v, ok := m.fresh(k); ok {
		if v.denied {
			return 0, errBad
		}
		return v.user, nil
	}
	v := m.verdicts[k]
	stale, ok := m.stale(k)
	switch {
	case ok && m.now.Before(v.passes):
		return stale, nil
	case p.away && ok:
		v.lasts = max(time.Second, min(2*v.lasts, 15*time.Second))
		v.passes = m.now.Add(v.lasts)
		m.verdicts[k] = v
		return stale, nil
	case p.away:
		return 0, errAway
	case p.bad[k]:
		m.verdicts[k] = verdict{denied: true, asked: m.now}
		m.denied[k] = m.now
		return 0, errBad
	}
	m.verdicts[k] = verdict{user: p.user(k), asked: m.now}
	return p.user(k), nil
}

func (m *model) put(k, user byte, asked time.Time) bool {
	for _, at := range []time.Time{m.revoked[k], m.users[user], m.cleared} {
		if !asked.After(at) {
			return false
		}
	}
	if v, ok := m.verdicts[k]; ok && v.asked.After(asked) || asked.Before(m.denied[k]) {
		return false
	}
	if !m.now.Before(asked.Add(modelTTL + modelStale)) {
		delete(m.verdicts, k)
		return false
	}
	m.verdicts[k] = verdict{user: user, asked: asked}
	return true
}

func (m *model) revoke(k byte) bool {
	v, fresh := m.fresh(k)
	_, stale := m.stale(k)
	delete(m.verdicts, k)
	m.revoked[k] = m.now
	return fresh && v.denied || stale
}

func (m *model) revokeUser(user byte) (n int) {
	m.users[user] = m.now
	for k, v := range m.verdicts {
		if v.denied || v.user != user {
			continue
		}
		if _, ok := m.stale(k); ok {
			n++
		}
		delete(m.verdicts, k)
	}
	return n
}

// An upstream says who a credential belongs to, until it is told otherwise.
type upstream struct {
	away  bool
	bad   map[byte]bool
	shift byte
}

func (p upstream) user(k byte) byte { return (k + p.shift) % 5 }

func FuzzModel(f *testing.F) {
	f.Add([]byte{0x00, 0x11, 0x22, 0x73, 0x00, 0x51, 0x00, 0x35, 0x00})
	f.Add([]byte("ask, wait, deny, ask, revoke, put, ask, wait, wait, ask, clear, ask"))
	f.Fuzz(func(t *testing.T, script []byte) {
		bubble(t, func(t *testing.T) { play(t, script) })
	})
}

// play does what the script says, with a cache and with the model.
func play(t *testing.T, script []byte) {
	p := upstream{bad: map[byte]bool{}}
	c := ttlcache.New(func(_ context.Context, k byte) (byte, error) {
		switch {
		case p.away:
			return 0, errAway
		case p.bad[k]:
			return 0, errBad
		}
		return p.user(k), nil
	}, ttlcache.Config[byte, byte]{
		Key: func(h *ttlcache.Hash, k byte) { h.Uint64(uint64(k)) },
		TTL: modelTTL, Jitter: -1, Denied: isBad, DenyTTL: modelDeny, MaxStale: modelStale,
	})
	m := model{now: time.Now(), verdicts: map[byte]verdict{}, revoked: map[byte]time.Time{}, users: map[byte]time.Time{}, denied: map[byte]time.Time{}}
	for i, b := range script {
		m.now = time.Now()
		k := b >> 4 % 8
		switch b % 16 {
		case 0, 1, 2, 3:
			user, err := c.Get(t.Context(), k)
			want, wantErr := m.get(k, p)
			require.Equal(t, wantErr, err, "%d: Get(%d)", i, k)
			require.Equal(t, want, user, "%d: Get(%d)", i, k)
		case 4, 5:
			user, ok := c.Peek(k)
			v, want := m.fresh(k)
			want = want && !v.denied
			require.Equal(t, want, ok, "%d: Peek(%d)", i, k)
			if want {
				require.Equal(t, v.user, user, "%d: Peek(%d)", i, k)
			}
		case 6, 7:
			asked := m.now.Add(-time.Duration(b>>6) * 5 * time.Second)
			require.Equal(t, m.put(k, b%5, asked), c.Put(k, b%5, asked), "%d: Put(%d)", i, k)
		case 8:
			require.Equal(t, m.revoke(k), c.Revoke(k), "%d: Revoke(%d)", i, k)
		case 9:
			user := k % 5
			require.Equal(t, m.revokeUser(user), c.RevokeFunc(func(u byte) bool { return u == user }), "%d: RevokeFunc(%d)", i, user)
		case 10:
			if k == 0 {
				c.Clear()
				clear(m.verdicts)
				m.cleared = m.now
			}
		case 11:
			p.away = !p.away
		case 12:
			p.bad[k] = !p.bad[k]
		case 13:
			p.shift++
		default:
			time.Sleep(time.Duration(k) * 600 * time.Millisecond) // of the synctest bubble
		}
	}
}

func TestModel(t *testing.T) {
	for seed := range uint64(100) {
		script := make([]byte, 300)
		r := random(seed)
		for i := range script {
			script[i] = byte(r.Uint32())
		}
		bubble(t, func(t *testing.T) { play(t, script) })
	}
}
