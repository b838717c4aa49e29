package enforcer

import (
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
)

const digestRego = `package bailiff.exec

# METADATA
# custom: {id: unlisted}
deny contains "unlisted" if {
	startswith(input.file.path, "/opt/")
	not input.file.sha256 in {"%s"}
}

# METADATA
# custom: {id: odd}
deny contains "odd" if regex.match("odd$", input.file.path)
`

// TestWithoutDigest: about a program whose digest nobody knows no answer is made
// up out of "", nor is one kept; what other rules say of it stands.
func TestWithoutDigest(t *testing.T) {
	listed := strings.Repeat("ab", 32)
	p, _, err := policy.LoadFS(t.Context(), fstest.MapFS{"x.rego": {Data: []byte(strings.ReplaceAll(digestRego, "%s", listed))}}, policy.Options{})
	if err != nil {
		t.Fatal(err)
	}
	k, sink := newFakeKernel(), newRecorder()
	e, err := New(Options{Kernel: k, Policy: p, Sinks: []Sink{sink}, Modes: event.Modes{All: event.ModeEnforce}, Deadline: time.Minute, PollEvery: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- e.Run(t.Context()) }()
	<-e.Ready()
	for pid, f := range []event.File{
		{Path: "/opt/a"}, {Path: "/opt/a", SHA256: listed}, {Path: "/opt/a", SHA256: strings.Repeat("0", 64)},
		{Path: "/opt/odd"}, {Path: "/usr/odd"}, {Path: "/usr/a"},
	} {
		ev := execOf(int32(pid+1), f.Path)
		ev.File.SHA256 = f.SHA256
		k.act(ev)
	}
	acts := sink.waitActs(t, 6)
	close(k.events)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ verdict, rule, failOpen string }{
		{"allow", "", "digest_unknown"}, {"allow", "", ""}, {"deny", "unlisted", ""}, {"deny", "odd", ""}, {"deny", "odd", ""}, {"allow", "", ""},
	} {
		d, rule := acts[i].Decision, ""
		if d.Rule != nil && d.Verdict == event.VerdictDeny {
			rule = d.Rule.ID
		}
		if d.Verdict.String() != want.verdict || rule != want.rule || d.FailOpen != want.failOpen || d.Divergence {
			t.Errorf("%s %s: %+v, want %+v", acts[i].File.Path, acts[i].File.SHA256, d, want)
		}
	}
	if n := e.Status().Counters["fail_open_digest_unknown"]; n != 1 {
		t.Errorf("%d acts had no digest", n)
	}
	for key := range k.remembered {
		if strings.HasSuffix(key, "/opt/odd") {
			t.Errorf("kept an answer about %s", key)
		}
	}
}
