package ttlcache_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/connhygiene/connhygiene/ttlcache"
)

type person struct {
	Subject string
	Scopes  []string
	Expires time.Time
	More    map[string]any
}

type (
	//lint:ignore U1000 what a codec must not drop unseen
	hidden   struct{ user string }
	omitted  struct{ A, B string }
	inner    struct{ User string }
	embedded struct{ inner }
	deep     struct{ M map[string][]*hidden }
	cyclic   struct{ Next *cyclic }
	left     struct {
		User string
		Key  string `json:"-"`
	}
)

func (o omitted) MarshalJSON() ([]byte, error) { return json.Marshal(o.A + o.B) }

func TestCodecByDefault(t *testing.T) {
	c, err := ttlcache.ResolveCodec(ttlcache.Codec[person]{})
	require.NoError(t, err)
	want := person{Subject: "ada", Scopes: []string{"a"}, Expires: time.Unix(5, 0).UTC(), More: map[string]any{"n": 1.0}}
	b, err := c.Encode(want)
	require.NoError(t, err)
	got, err := c.Decode(b)
	require.NoError(t, err)
	require.Equal(t, want, got)
	_, err = c.Decode([]byte("no JSON"))
	require.Error(t, err)
}

func TestCodecThatWouldLoseSomething(t *testing.T) {
	lost := func(err error) string {
		require.Error(t, err)
		return err.Error()
	}
	_, err := ttlcache.ResolveCodec(ttlcache.Codec[hidden]{})
	require.Contains(t, lost(err), "hidden.user")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[deep]{})
	require.Contains(t, lost(err), "hidden.user")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[left]{})
	require.Contains(t, lost(err), "left.Key")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[chan int]{})
	require.Contains(t, lost(err), "chan int")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[error]{})
	require.Contains(t, lost(err), "error")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[string]{Encode: func(string) ([]byte, error) { return nil, nil }})
	require.Contains(t, lost(err), "only one")

	_, err = ttlcache.ResolveCodec(ttlcache.Codec[omitted]{})
	require.NoError(t, err, "it writes itself")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[embedded]{})
	require.NoError(t, err, "its fields are promoted")
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[*cyclic]{})
	require.NoError(t, err)
	_, err = ttlcache.ResolveCodec(ttlcache.Codec[any]{})
	require.NoError(t, err)
}
