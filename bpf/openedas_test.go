package bpf

import (
	"path/filepath"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy/ir"
)

// TestOpenedAs: the string that execve was given is told whole, whether it is copied
// by words or byte by byte.
func TestOpenedAs(t *testing.T) {
	w := newWorld(t, Options{})
	w.enforce(&ir.Program{Revision: "test"})
	program := exitProgram(t, filepath.Join(t.TempDir(), "program"))
	var want []string
	for _, size := range []int{0, 55, 56, 57, 62, 63, 64, 65, 127, 128, 200, 4095} {
		name := program
		if n := size - len(program); n > 0 {
			name = strings.Repeat("/", n) + program
		}
		if _, err := w.run(name); err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		want = append(want, name)
	}
	for i, ev := range w.events(event.HookExec, len(want)) {
		if got := ev.Exec.OpenedAs; got != want[i] {
			t.Errorf("of %d bytes came %d: %q", len(want[i]), len(got), got)
		}
	}
}
