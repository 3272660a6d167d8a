package password_test

import (
	"testing"

	"github.com/sekifuda/sekifuda/model/password"
)

func TestPBKDF2(t *testing.T) {
	t.Parallel()
	stored := password.NewPBKDF2("s3cret")
	if !password.IsPBKDF2(stored) || password.NewPBKDF2("s3cret") == stored {
		t.Fatalf("stored form %q", stored)
	}
	if !password.MatchesPBKDF2(stored, "s3cret") || password.MatchesPBKDF2(stored, "s3cre") || password.MatchesPBKDF2(stored, stored) {
		t.Error("a secret is taken for another")
	}
	// RFC 7914 section 11: PBKDF2-HMAC-SHA-256 of "passwd" and "salt" in one round.
	const known = "$pbkdf2-sha256$i=1,l=64$c2FsdA$VawEblbjCJ/sFpHCJUS2BflBhSFt3gRl5oudV8INrLxJypzM8Xm2RZkWZLOdd+8xfHG4RbHjC9UJESBB06GXgw"
	if !password.IsPBKDF2(known) || !password.MatchesPBKDF2(known, "passwd") {
		t.Error("the known answer is not found")
	}
	for _, bad := range []string{
		"", "s3cret", "$pbkdf2-sha512$", "$pbkdf2-md5$i=1,l=32$c2FsdA$c2FsdA", "$pbkdf2-sha512$i=999999999,l=32$c2FsdA$c2FsdA",
		"$pbkdf2-sha512$i=1,l=4$c2FsdA$c2FsdA", "$pbkdf2-sha512$i=1,l=3$c2FsdA$c2FsdA", "$argon2id$v=19$m=8,t=1,p=1$c2FsdA$c2FsdA",
	} {
		if password.IsPBKDF2(bad) || password.MatchesPBKDF2(bad, "s3cret") {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}
