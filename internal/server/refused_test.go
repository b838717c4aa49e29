package server

import (
	"fmt"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

type explained struct{ text string }

func (e explained) Error() string  { return "in short" }
func (e explained) Detail() string { return e.text }

// TestRefusalSaysAll: what an error has to say to a person comes to the client,
// as far as there is room, and an error without more is its message.
func TestRefusalSaysAll(t *testing.T) {
	plain := refused(fmt.Errorf("no"))
	if status.Code(plain) != codes.FailedPrecondition || DetailOf(plain) != "" {
		t.Errorf("%v, %q", plain, DetailOf(plain))
	}
	err := refused(fmt.Errorf("apply: %w", explained{"error: x.rego:3:1: bad \xff\n   3 | x\n"}))
	if s := status.Convert(err); s.Message() != "apply: in short" || DetailOf(err) != "error: x.rego:3:1: bad \\xff\n   3 | x\n" {
		t.Errorf("%q, %q", s.Message(), DetailOf(err))
	}
	long := DetailOf(refused(explained{strings.Repeat("error: one of many\n", 1000)}))
	if len(long) > maxDetail+16 || !strings.HasSuffix(long, "many\nand more\n") {
		t.Errorf("%d bytes, ending in %q", len(long), long[max(0, len(long)-40):])
	}
}
