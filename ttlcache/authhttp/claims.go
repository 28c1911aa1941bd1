package authhttp

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"time"
)

// Claims are the statements of an identity provider about an active token: the members of
// an introspection response (RFC 7662, section 2.2). A member that the provider left
// out is the zero value of its field.
type Claims struct {
	Subject   string    // Subject is the member sub, the user or service that the token speaks for.
	Username  string    // Username is the member username, a name for people to read.
	ClientID  string    // ClientID is the client that asked for the token.
	TokenType string    // TokenType is the member token_type, "Bearer" for instance.
	Issuer    string    // Issuer is the member iss.
	ID        string    // ID is the member jti, which identifies the token.
	Scopes    []string  // Scopes are the words of the member scope.
	Audience  []string  // Audience is the member aud, one name or several.
	Expires   time.Time // Expires is the member exp. It is the zero time if exp is absent, 0 or negative: the token has no end.
	IssuedAt  time.Time // IssuedAt is the member iat, or the zero time.
	NotBefore time.Time // NotBefore is the member nbf, or the zero time.

	// Raw is the whole response, for members of the provider's own. It is shared by
	// all callers that get the same verdict: do not change it.
	Raw json.RawMessage
}

// Expires returns when the token ends by itself. It fits [ttlcache.Config.Expires].
// The zero time means that it does not.
func Expires(c Claims) time.Time { return c.Expires }

// response is the JSON of an introspection response.
type response struct {
	Active    *bool   `json:"active"`
	Subject   string  `json:"sub"`
	Username  string  `json:"username"`
	ClientID  string  `json:"client_id"`
	TokenType string  `json:"token_type"`
	Issuer    string  `json:"iss"`
	ID        string  `json:"jti"`
	Scope     words   `json:"scope"`
	Audience  strs    `json:"aud"`
	Expires   seconds `json:"exp"`
	IssuedAt  seconds `json:"iat"`
	NotBefore seconds `json:"nbf"`
}

// parseClaims reads an introspection response. Its second result is the member
// active, without which the response is an error.
func parseClaims(body []byte) (Claims, bool, error) {
	var r response
	if err := json.Unmarshal(body, &r); err != nil {
		return Claims{}, false, fmt.Errorf("the answer is no introspection response: %w", err)
	}
	if r.Active == nil {
		return Claims{}, false, fmt.Errorf("the answer is no introspection response: it has no member %q", "active")
	}
	return Claims{
		Subject: r.Subject, Username: r.Username, ClientID: r.ClientID, TokenType: r.TokenType,
		Issuer: r.Issuer, ID: r.ID, Scopes: r.Scope, Audience: r.Audience,
		Expires: r.Expires.time(), IssuedAt: r.IssuedAt.time(), NotBefore: r.NotBefore.time(),
		Raw: body,
	}, *r.Active, nil
}

// strs is one string or an array of them, as aud is.
type strs []string

func (s *strs) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '"' {
		*s = make(strs, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]string)(s))
}

// words is a string of words, or an array of them, which some providers send.
type words []string

func (w *words) UnmarshalJSON(b []byte) error {
	var s strs
	if err := s.UnmarshalJSON(b); err != nil {
		return err
	}
	*w = strings.Fields(strings.Join(s, " "))
	return nil
}

// seconds is a NumericDate, seconds since 1970 and possibly a fraction. Some providers
// send it as a string.
type seconds float64

func (s *seconds) UnmarshalJSON(b []byte) error {
	return json.Unmarshal([]byte(strings.Trim(string(b), `"`)), (*float64)(s))
}

// farthest is a time in seconds that every calendar function can represent.
const farthest = 1 << 37

// time is the zero time for what is absent, 0, negative or not a time at all.
func (s seconds) time() time.Time {
	f := float64(s)
	if !(f > 0) {
		return time.Time{}
	}
	whole, part := math.Modf(min(f, farthest))
	return time.Unix(int64(whole), int64(part*1e9))
}
