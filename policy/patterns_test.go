package policy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"example.com/bailiff/policy/lower"
)

// TestPatterns: a bundle of many regular expressions on arguments loads soon, and
// one of hostile patterns too: those are left to OPA, which is said with the reason.
func TestPatterns(t *testing.T) {
	for _, m := range []struct {
		name, pattern string
		rules, commit int
		within        time.Duration
		reason        string
	}{
		{"ordinary", `^--word%d(=.*)?$`, 60, 60, 5 * time.Second, ""},
		{"anywhere", `(curl|wget) +-%d[^ ]* (http|ftp)://`, 60, 60, 5 * time.Second, ""},
		{"states", `(a|b)*a(a|b){12}x%d$`, 100, 0, 10 * time.Second, "16 before it in the bundle were too much"},
		{"work", `(.{0,100}a.{0,100}b){5}%d`, 100, 0, 10 * time.Second, "it takes too long"},
		{"many", `^a%d$`, 300, 256, 10 * time.Second, "more than 256"},
	} {
		text := "package bailiff.exec\n"
		for i := range m.rules {
			text += fmt.Sprintf("\nalert contains \"x%d\" if {\n\tinput.file.name == \"x%d\"\n\tsome a in input.args\n\tregex.match(`%s`, a)\n}\n", i, i, fmt.Sprintf(m.pattern, i))
		}
		start := time.Now()
		p, _, err := LoadFS(context.Background(), fstest.MapFS{"x.rego": {Data: []byte(text)}}, Options{})
		if err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		t.Logf("%s: %d rules in %v", m.name, m.rules, took)
		if took > m.within {
			t.Errorf("%s: it took %v to load", m.name, took)
		}
		commit, said := 0, false
		for _, e := range p.Explain() {
			if e.Class == lower.ClassCommit {
				commit++
			}
			for _, r := range e.Reasons {
				said = said || r.Code == lower.CodeText && strings.Contains(r.Why, m.reason)
			}
		}
		if commit != m.commit || said != (m.reason != "") {
			t.Errorf("%s: %d rules are decided at commit, the reason %q is given: %v", m.name, commit, m.reason, said)
		}
		p.Close(context.Background())
	}
}
