// Package credentials issues the bearer tokens of the exec credential plugin and answers the API server's
// TokenReview webhook about them.
package credentials

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// User is who a token stands for.
type User struct {
	Name   string
	Groups []string
}

// Tokens remembers every token until it expires.
type Tokens struct {
	user User

	mu       sync.Mutex
	lifetime time.Duration
	expires  map[string]time.Time
	issued   int
}

// New issues tokens of one user.
func New(user User, lifetime time.Duration) *Tokens {
	return &Tokens{user: user, lifetime: lifetime, expires: map[string]time.Time{}}
}

// SetLifetime sets how long the next tokens live.
func (t *Tokens) SetLifetime(d time.Duration) error {
	if d < time.Second || d > 24*time.Hour {
		return fmt.Errorf("the lifetime %s is not between 1 s and 24 h", d)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lifetime = d
	return nil
}

// Issue makes a token and says when it expires.
func (t *Tokens) Issue() (token string, expires time.Time) {
	b := make([]byte, 32)
	rand.Read(b)
	token = "ya29.sandbox-" + base64.RawURLEncoding.EncodeToString(b)
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for old, end := range t.expires {
		if now.After(end) {
			delete(t.expires, old)
		}
	}
	expires = now.Add(t.lifetime)
	t.expires[token] = expires
	t.issued++
	return token, expires
}

// Issued counts the tokens so far.
func (t *Tokens) Issued() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.issued
}

func (t *Tokens) valid(token string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	end, ok := t.expires[token]
	return ok && time.Now().Before(end)
}

// ServeHTTP is the TokenReview webhook (authentication.k8s.io/v1).
func (t *Tokens) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review authenticationv1.TokenReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, "reading the TokenReview: "+err.Error(), http.StatusBadRequest)
		return
	}
	answer := authenticationv1.TokenReview{TypeMeta: metav1.TypeMeta{APIVersion: "authentication.k8s.io/v1", Kind: "TokenReview"}}
	if t.valid(review.Spec.Token) {
		answer.Status = authenticationv1.TokenReviewStatus{
			Authenticated: true, User: authenticationv1.UserInfo{Username: t.user.Name, Groups: t.user.Groups},
		}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}
