package guide

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/sekifuda/sekifuda/test/services"
)

// guideDatabase makes the guide's user and database and returns the URL.
func guideDatabase(t *testing.T, s *services.PostgresServer) string {
	t.Helper()
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	admin(t, s.URL, `CREATE ROLE ai_user LOGIN PASSWORD 'ai_password'`, `CREATE DATABASE ai_development OWNER ai_user`)
	u.User, u.Path = url.UserPassword("ai_user", "ai_password"), "/ai_development"
	return u.String()
}

func admin(t *testing.T, dsn string, statements ...string) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	for _, s := range statements {
		if _, err := c.Exec(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// loseDatabase is the disaster before the guide's restore: the database is gone and made
// anew, empty. The control plane is stopped then.
func (w *world) loseDatabase(t *testing.T) {
	t.Helper()
	admin(t, w.database.URL, `DROP DATABASE ai_development WITH (FORCE)`, `CREATE DATABASE ai_development OWNER ai_user`)
}

// works reports whether the guide's request succeeds at every node and the configuration is
// what it was.
func (w *world) works(t *testing.T) error {
	for _, p := range w.proxies {
		res, _ := w.get(t, p+"/api/v1/gateway/", key)
		if res.StatusCode != 200 {
			return fmt.Errorf("%s: %s", p, res.Status)
		}
	}
	if n := len(w.list(t, "plugins")); n < 9 {
		return fmt.Errorf("%d plugins", n)
	}
	return nil
}
