package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/sekifuda/sekifuda/controlplane/store"
)

// Bench measures a store: single writes by 1, 8 and 32 writers, without and with an entry of the
// audit log for each, a commit of 1,000 new
// objects, and loads of 100,000 objects, of the head and of a revision before it.
// open opens an empty store that is released when b ends.
func Bench(b *testing.B, open func(b *testing.B) store.Store) {
	for _, writers := range []int{1, 8, 32} {
		b.Run(fmt.Sprintf("write/%d", writers), func(b *testing.B) { benchWrite(b, open(b), writers, nil) })
		b.Run(fmt.Sprintf("write noted/%d", writers), func(b *testing.B) {
			benchWrite(b, open(b), writers, func(rev uint64) []byte { return fmt.Appendf(nil, "who did revision %d, from where, and why", rev) })
		})
	}
	b.Run("commit 1000", func(b *testing.B) { benchCommit(b, open(b)) })
	b.Run("load 100000", func(b *testing.B) { benchLoad(b, open(b)) })
}

// entity is an op of the usual size: 300 bytes, a key, a reference and a tag.
func entity(n int) store.Op {
	op := put("routes", n, strings.Repeat("b", 300))
	return tagged(referring(named(op, fmt.Sprint("route ", n)), "service", "services", 0), "bench")
}

func benchWrite(b *testing.B, s store.Store, writers int, note func(uint64) []byte) {
	ctx := context.Background()
	if _, err := s.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 0, "s")}}); err != nil {
		b.Fatal(err)
	}
	var next atomic.Int64
	var all sync.WaitGroup
	b.ResetTimer()
	for range writers {
		all.Add(1)
		go func() {
			defer all.Done()
			for {
				n := int(next.Add(1))
				if n > b.N {
					return
				}
				if _, err := s.Commit(ctx, store.Commit{Ops: []store.Op{entity(n)}, Note: note}); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	all.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

func benchCommit(b *testing.B, s store.Store) {
	ctx := context.Background()
	if _, err := s.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 0, "s")}}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for i := range b.N {
		fill(b, s, 1+i*1000, 1000)
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "objects/s")
}

func fill(b *testing.B, s store.Store, from, count int) {
	b.Helper()
	ops := make([]store.Op, count)
	for i := range ops {
		ops[i] = entity(from + i)
	}
	if _, err := s.Commit(context.Background(), store.Commit{Ops: ops}); err != nil {
		b.Fatal(err)
	}
}

func benchLoad(b *testing.B, s store.Store) {
	ctx := context.Background()
	if _, err := s.Commit(ctx, store.Commit{Ops: []store.Op{put("services", 0, "s")}}); err != nil {
		b.Fatal(err)
	}
	const total, step = 100_000, 5_000
	for from := 1; from < total; from += step {
		fill(b, s, from, step)
	}
	head, err := s.Head(ctx)
	if err != nil {
		b.Fatal(err)
	}
	for name, at := range map[string]uint64{"head": head.Rev, "half": head.Rev - 10} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				_, objects, err := s.Load(ctx, at)
				if err != nil {
					b.Fatal(err)
				}
				for _, err := range objects {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	b.Run("write beside", func(b *testing.B) { // a single write with the large tables around it
		for i := range b.N {
			op := entity(1 + i%total)
			op.Body = fmt.Append(nil, i)
			if _, err := s.Commit(ctx, store.Commit{Ops: []store.Op{op}}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
