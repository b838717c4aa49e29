package server_test

import (
	"testing"

	"example.com/bailiff/internal/server"
)

// BenchmarkEncode is the cost of an event for the first one who wants it.
func BenchmarkEncode(b *testing.B) {
	e := sample(1)
	b.ReportAllocs()
	var buf []byte
	for b.Loop() {
		buf = server.AppendEvent(buf[:0], e)
	}
}

// BenchmarkEmitToNobody is the cost of an event that nobody follows.
func BenchmarkEmitToNobody(b *testing.B) {
	h := server.NewHub(server.Identity{})
	e := sample(1)
	b.ReportAllocs()
	for b.Loop() {
		h.Emit(e)
	}
}
