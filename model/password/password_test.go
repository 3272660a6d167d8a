package password_test

import (
	"strings"
	"testing"

	"github.com/sekifuda/sekifuda/model/password"
)

func TestOnlyThePasswordMatches(t *testing.T) {
	t.Parallel()
	stored := password.New("s3cret")
	if again := password.New("s3cret"); again == stored {
		t.Error("New gives two passwords one salt")
	}
	h, err := password.Parse(stored)
	if err != nil {
		t.Fatalf("Parse(%q): %v", stored, err)
	}
	for _, tt := range []struct {
		password string
		want     bool
	}{{"s3cret", true}, {"s3cre", false}, {"", false}, {"s3cret ", false}} {
		if got := h.Matches(tt.password); got != tt.want {
			t.Errorf("Matches(%q) = %v, want %v", tt.password, got, tt.want)
		}
	}
}

// TestKnownAnswer holds the text form against one made by the reference program.
func TestKnownAnswer(t *testing.T) {
	t.Parallel()
	h, err := password.Parse("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	if err != nil {
		t.Fatal(err)
	}
	if !h.Matches("password") || h.Matches("Password") {
		t.Error("the reference's hash of \"password\" is not recognised")
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]string{
		"": "form", "5baa61e4c9b93f3f0682250b6cf8331b7ee68fd8": "form",
		"$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc":    "form",
		"$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc":   "version",
		"$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "bounds",
		"$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc":   "bounds",
		"$argon2id$v=19$m=65536,t=2,p=999$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc": "parameters",
		"$argon2id$v=19$m=65536$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc":           "parameters",
		"$argon2id$v=19$m=65536,t=2,p=1$!$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc":             "salt",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$!":                                             "sum",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$AAAA":                                          "length",
		"$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$" + strings.Repeat("A", 1000):                  "length",
	} {
		if _, err := password.Parse(stored); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q) = %v, want an error of its %s", stored, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc")
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, stored string) {
		if h, err := password.Parse(stored); (h == nil) == (err == nil) {
			t.Errorf("Parse(%q) = %v, %v", stored, h, err)
		}
	})
}
