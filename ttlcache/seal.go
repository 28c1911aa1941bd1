package ttlcache

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"time"
)

// minSecret is the least length of Config.Secret.
const minSecret = 32

// derive returns a key of its own for each purpose.
func derive(secret []byte, purpose string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, "ttlcache "+purpose, sha256.Size)
	if err != nil {
		panic("ttlcache: " + err.Error()) // only lengths can be wrong, and they are ours
	}
	return key
}

// A sealer makes a verdict unreadable and unforgeable for the tier that keeps it.
//
// AES-256-GCM under a key of each credential, so that no number of verdicts uses up its
// random nonces. The digest of the credential and the position in the log are
// authenticated with it: a sealed verdict is good under no other digest and at no other
// position. Either the key of each credential or the authenticated digest would be enough
// for the former; both are there so that one mistake is none.
type sealer struct{ secret []byte }

// A parcel is what is sealed. No clock of one replica is compared with that of another
// but in end, where skew is allowed for.
type parcel struct {
	at      uint64        // the lease: the question was asked after this position
	age     time.Duration // of the verdict when it was sealed
	left    time.Duration // of its life, then
	end     time.Time     // by the wall clock, whatever the tier says is left
	version uint16        // of the codec
	body    []byte
}

const (
	sealFormat = 1
	sealHead   = 1 + 8           // format and position, readable
	parcelHead = 8 + 8 + 8 + 2   // end, age, left, version
	clockSkew  = 5 * time.Minute // between the wall clocks of two replicas
)

func (s sealer) aead(key *digest) cipher.AEAD {
	mac := hmac.New(sha256.New, s.secret)
	mac.Write(key[:])
	block, err := aes.NewCipher(mac.Sum(nil))
	if err != nil {
		panic("ttlcache: " + err.Error()) // the length of the key is right
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic("ttlcache: " + err.Error())
	}
	return aead
}

// seal returns p as only open under the same secret and key can read it.
func (s sealer) seal(key digest, p parcel) []byte {
	aead := s.aead(&key)
	plain := make([]byte, 0, parcelHead+len(p.body))
	plain = binary.BigEndian.AppendUint64(plain, uint64(p.end.UnixMilli()))
	plain = binary.BigEndian.AppendUint64(plain, uint64(p.age))
	plain = binary.BigEndian.AppendUint64(plain, uint64(p.left))
	plain = binary.BigEndian.AppendUint16(plain, p.version)
	plain = append(plain, p.body...)

	sealed := make([]byte, sealHead+aead.NonceSize(), sealHead+aead.NonceSize()+len(plain)+aead.Overhead())
	sealed[0] = sealFormat
	binary.BigEndian.PutUint64(sealed[1:], p.at)
	nonce := sealed[sealHead:]
	_, _ = rand.Read(nonce) // never fails
	return aead.Seal(sealed, nonce, plain, bind(key, sealed))
}

// open returns what was sealed under key, and whether sealed is that.
func (s sealer) open(key digest, sealed []byte) (p parcel, ok bool) {
	aead := s.aead(&key)
	body := sealHead + aead.NonceSize()
	if len(sealed) < body || sealed[0] != sealFormat {
		return p, false
	}
	plain, err := aead.Open(nil, sealed[sealHead:body], sealed[body:], bind(key, sealed))
	if err != nil || len(plain) < parcelHead {
		return p, false
	}
	p.at = binary.BigEndian.Uint64(sealed[1:])
	p.end = time.UnixMilli(int64(binary.BigEndian.Uint64(plain)))
	p.age = time.Duration(binary.BigEndian.Uint64(plain[8:]))
	p.left = time.Duration(binary.BigEndian.Uint64(plain[16:]))
	p.version = binary.BigEndian.Uint16(plain[24:])
	p.body = plain[parcelHead:]
	return p, true
}

// bind returns what is authenticated with a sealed verdict.
func bind(key digest, sealed []byte) []byte {
	return append(key[:], sealed[:sealHead]...)
}

// remaining returns how long p may be used, if the tier says left, and how old its
// verdict is. A tier that lies cannot prolong it.
func (p parcel) remaining(left time.Duration, now time.Time) (life, age time.Duration) {
	left = min(left, p.left)
	age = p.age + (p.left - left)
	return min(left, p.end.Sub(now)), age
}
