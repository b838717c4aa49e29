package server_test

import (
	"testing"

	"google.golang.org/protobuf/proto"

	"example.com/bailiff/internal/server"
)

// BenchmarkEncode is the cost of an event for the first subscriber that wants it.
func BenchmarkEncode(b *testing.B) {
	e := sample(1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proto.Marshal(server.Encode(e)); err != nil {
			b.Fatal(err)
		}
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
