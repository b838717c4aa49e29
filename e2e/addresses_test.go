package e2e

import (
	"os"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

// TestHiddenAddresses: where the kernel shows its addresses to nobody, as
// hardened machines have it, the agent starts and denies as anywhere.
func TestHiddenAddresses(t *testing.T) {
	if !inGuest() {
		t.Skip("guests only: it is a setting of the whole machine")
	}
	const setting = "/proc/sys/kernel/kptr_restrict"
	was, err := os.ReadFile(setting)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(setting, []byte("2"), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(setting, was, 0); err != nil {
			t.Error(err)
		}
	})
	if b, err := os.ReadFile("/proc/kallsyms"); err != nil || !strings.HasPrefix(string(b), strings.Repeat("0", 16)+" ") {
		t.Fatalf("the kernel still shows its addresses: %v", err)
	}
	w := newWorld(t, backends(t)[0]) // the best: one start is enough
	tg := w.denyTarget()
	w.startOnly(event.ModeEnforce)
	if !w.try(w.actor(), tg) {
		t.Error("nothing is denied")
	}
	w.stopOnly()
}
