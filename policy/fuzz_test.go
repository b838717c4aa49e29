package policy_test

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"time"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/hostile"
)

// FuzzRead: whatever an archive holds, reading it ends in a bundle or in
// errors with code and reason, within the limits, and never in a panic.
func FuzzRead(f *testing.F) {
	s := hostile.NewSigner("k1", "prod")
	keys := keysOf(f, s)
	f.Add(s.Sign(hostile.InForce()).Tar(), true)
	for _, c := range hostile.Cases(s) {
		if len(c.Archive) < 4<<10 {
			f.Add(c.Archive, false)
		}
	}
	limits := policy.Limits{ArchiveBytes: 1 << 20, TotalBytes: 1 << 20, FileBytes: 1 << 18, RegoBytes: 1 << 12, Entries: 100, Nesting: 16, Digits: 20, Rules: 20}
	f.Fuzz(func(t *testing.T, b []byte, tar bool) {
		if tar { // what stands behind a checksum is reached by no mutation
			b = hostile.Gzip(b)
		}
		for _, o := range []policy.Options{{Limits: limits}, {Limits: limits, Keys: keys}} {
			a, err := policy.Read(bytes.NewReader(b), o)
			if err != nil {
				told(t, err)
				continue
			}
			if a.Size() > limits.TotalBytes {
				t.Fatalf("%d bytes passed the limit", a.Size())
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			p, _, err := a.Compile(ctx)
			cancel()
			if err != nil {
				told(t, err)
				continue
			}
			p.Close(context.Background())
		}
	})
}

func told(t *testing.T, err error) {
	t.Helper()
	var list policy.Errors
	if !errors.As(err, &list) || len(list) == 0 {
		if errors.Is(err, context.DeadlineExceeded) {
			return
		}
		t.Fatalf("not an Errors: %v", err)
	}
	for _, e := range list {
		if e.Code == "" || e.Why == "" {
			t.Fatalf("nothing is said: %+v", e)
		}
	}
}
