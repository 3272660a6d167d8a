package model_test

import (
	"testing"

	"github.com/sekifuda/sekifuda/model/schema"
)

func BenchmarkInsertMarshalService(b *testing.B) {
	table := all.Table("services")
	body := schema.Body{"name": "orders", "host": "orders.test", "tags": []any{"a", "b"}}
	b.ReportAllocs()
	for b.Loop() {
		m, err := table.Insert(body, insertTime)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := schema.Marshal(m); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRenderService(b *testing.B) {
	table := all.Table("services")
	m := insert(b, "services", `{"name":"orders","host":"orders.test","tags":["a","b"]}`)
	b.ReportAllocs()
	for b.Loop() {
		table.Render(m, insertTime)
	}
}

func BenchmarkInsertMarshalPlugin(b *testing.B) {
	table := all.Table("plugins")
	body := schema.Body{"name": "rate-limiting", "config": schema.Body{"minute": 5.0}}
	b.ReportAllocs()
	for b.Loop() {
		m, err := table.Insert(body, insertTime)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := schema.Marshal(m); err != nil {
			b.Fatal(err)
		}
	}
}
