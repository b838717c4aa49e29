package policy_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/hostile"
)

func keysOf(t testing.TB, signers ...*hostile.Signer) *policy.Keys {
	t.Helper()
	var list []policy.Key
	for _, s := range signers {
		list = append(list, policy.Key{ID: s.ID, Algorithm: "ES256", Key: s.Public(), Scope: s.Scope})
	}
	keys, err := policy.NewKeys(list, "")
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func load(raw []byte, o policy.Options) (*policy.Policy, *policy.Report, error) {
	a, err := policy.Read(bytes.NewReader(raw), o)
	if err != nil {
		return nil, nil, err
	}
	return a.Compile(context.Background())
}

// TestHostile: each bundle of the corpus is refused with its code, and what is
// said has a reason and a hint. What only a process of its own survives, and
// what depends on the bundle in force, is for the agent's test.
func TestHostile(t *testing.T) {
	s := hostile.NewSigner("k1", "prod")
	keys := keysOf(t, s)
	if _, _, err := load(s.Sign(hostile.Good("r11", 11)).Pack(), policy.Options{Keys: keys}); err != nil {
		t.Fatalf("the good one: %v", err)
	}
	cases := hostile.Cases(s)
	if len(cases) < 200 {
		t.Errorf("%d cases, want 200", len(cases))
	}
	names := map[string]bool{}
	for _, c := range cases {
		if names[c.Name] {
			t.Errorf("%s is there twice", c.Name)
		}
		names[c.Name] = true
		if c.Code == policy.CodeRollback || c.Code == policy.CodeUnbounded && strings.HasPrefix(c.Name, "bomb/") {
			continue
		}
		t.Run(c.Name, func(t *testing.T) {
			o := policy.Options{}
			if c.Signed {
				o.Keys = keys
			}
			_, _, err := load(c.Archive, o)
			var list policy.Errors
			if !errors.As(err, &list) || len(list) == 0 {
				t.Fatalf("got %v, want an Errors", err)
			}
			if list[0].Code != c.Code {
				t.Errorf("got %v, want %s", list, c.Code)
			}
			for _, e := range list {
				if e.Why == "" || e.Hint == "" {
					t.Errorf("%v: why %q, hint %q", e, e.Why, e.Hint)
				}
			}
		})
	}
}
