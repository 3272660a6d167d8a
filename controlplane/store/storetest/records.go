package storetest

import (
	"bytes"
	"context"
	"errors"
	"reflect"
	"strings"
	"sync/atomic"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

func records(ctx context.Context, d *desk) {
	blue := store.Record{Kind: "groups", ID: "blue", Body: []byte("\x00\xff")}
	green := store.Record{Kind: "groups", ID: "green", Body: []byte{}}
	other := store.Record{Kind: "releases", ID: "blue", Body: []byte("r")}
	d.write(ctx, green, other, blue)
	d.holds(ctx, "groups", store.Record{Kind: "groups", ID: "blue", Version: 1, Body: []byte("\x00\xff")},
		store.Record{Kind: "groups", ID: "green", Version: 1, Body: []byte{}})

	blue.Version, blue.Body = 1, []byte("b")
	d.write(ctx, blue)
	blue.Version = 2
	d.holds(ctx, "groups", blue, store.Record{Kind: "groups", ID: "green", Version: 1, Body: []byte{}})

	// All or none: green could be written, blue not any more.
	green.Version, green.Body = 1, []byte("g")
	blue.Version = 1
	var conflict *store.ConflictError
	err := d.Write(ctx, []store.Record{green, blue})
	if want := (store.ConflictError{Kind: "groups", ID: "blue", Want: 1, Have: 2}); !errors.As(err, &conflict) || *conflict != want {
		d.Errorf("Write of an old version = %v, want %v", err, &want)
	}
	blue.Version = 2
	d.holds(ctx, "groups", blue, store.Record{Kind: "groups", ID: "green", Version: 1, Body: []byte{}})

	for _, c := range []struct {
		have uint64
		what store.Record
	}{
		{2, store.Record{Kind: "groups", ID: "blue", Body: []byte("again")}},
		{2, store.Record{Kind: "groups", ID: "blue", Version: 1}},
		{0, store.Record{Kind: "groups", ID: "red", Version: 3, Body: []byte("r")}},
		{0, store.Record{Kind: "groups", ID: "red", Version: 3}},
	} {
		if err := d.Write(ctx, []store.Record{c.what}); !errors.As(err, &conflict) || conflict.Have != c.have {
			d.Errorf("Write(%v) = %v, want a conflict with version %d", c.what, err, c.have)
		}
	}
	d.write(ctx, store.Record{Kind: "groups", ID: "blue", Version: 2})
	d.holds(ctx, "groups", store.Record{Kind: "groups", ID: "green", Version: 1, Body: []byte{}})
	d.holds(ctx, "nothing")

	var large *store.TooLargeError
	if err := d.Write(ctx, []store.Record{{Kind: "groups", ID: "big", Body: bytes.Repeat([]byte("x"), store.MaxObjectBytes+1)}}); !errors.As(err, &large) {
		d.Errorf("Write of a large record = %v, want TooLargeError", err)
	}
	for _, id := range []string{"", "\x00", strings.Repeat("x", 1<<16)} {
		if err := d.Write(ctx, []store.Record{{Kind: "groups", ID: id, Body: []byte("x")}}); !errors.Is(err, store.ErrInvalid) {
			d.Errorf("Write of id %.10q = %v, want ErrInvalid", id, err)
		}
	}
	if got := d.head(); got != 0 {
		d.Errorf("head = %d after records were written, want 0", got)
	}
}

func recordRace(ctx context.Context, d *desk) {
	d.write(ctx, store.Record{Kind: "groups", ID: "a", Body: []byte("0")}, store.Record{Kind: "groups", ID: "b", Body: []byte("0")})
	var won atomic.Int64
	together(16, func(i int) {
		a, b := store.Record{Kind: "groups", ID: "a", Version: 1, Body: []byte("a")}, store.Record{Kind: "groups", ID: "b", Version: 1, Body: []byte("b")}
		pair := []store.Record{a, b}
		if i%2 == 1 {
			pair[0], pair[1] = b, a
		}
		err := d.Write(ctx, pair)
		var conflict *store.ConflictError
		switch {
		case err == nil:
			won.Add(1)
		case !errors.As(err, &conflict):
			d.Errorf("Write = %v, want a conflict", err)
		}
	})
	if won.Load() != 1 {
		d.Errorf("%d writers of one version won, want 1", won.Load())
	}
}

func (d *desk) write(ctx context.Context, records ...store.Record) {
	d.Helper()
	if err := d.Write(ctx, records); err != nil {
		d.Fatalf("Write = %v", err)
	}
}

func (d *desk) holds(ctx context.Context, kind string, want ...store.Record) {
	d.Helper()
	got, err := d.Records(ctx, kind)
	if err != nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
		d.Errorf("Records(%q) = %v, %v, want %v", kind, got, err, want)
	}
}
