package bpf

import "testing"

// TestAge: a record says how old the file is in seconds, or when it was changed.
func TestAge(t *testing.T) {
	const boot, wall = 5_000_000_000, 1_700_000_000_000_000_000 // ns
	d := &decoder{offset: wall}
	for _, c := range []struct {
		flags uint16
		age   uint64
		want  uint64
	}{
		{0, 42, 42},
		{flagChangedAt, wall + boot, 0},
		{flagChangedAt, wall + boot - 1_999_999_999, 1},
		{flagChangedAt, wall + boot + 1, 0},     // in the future
		{flagChangedAt, 0, (wall + boot) / 1e9}, // 1970
	} {
		r := &kernelRecord{Time: boot, Flags: c.flags, FileAge: c.age}
		if got := d.age(r); got != min(c.want, 0xfffffffe) {
			t.Errorf("flags %d, age %d: %d seconds, want %d", c.flags, c.age, got, c.want)
		}
	}
}
