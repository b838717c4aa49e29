package enforcer

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sys/unix"

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

# METADATA
# custom: {id: unsealed}
deny contains "unsealed" if {
	startswith(input.file.path, "/srv/")
	input.file.verity == ""
}
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
		{Path: "/srv/a"}, {Path: "/srv/a", Verity: event.NoVerity}, {Path: "/srv/a", Verity: "sha256:" + listed},
	} {
		ev := execOf(int32(pid+1), f.Path)
		ev.File.SHA256, ev.File.Verity = f.SHA256, f.Verity
		k.act(ev)
	}
	acts := sink.waitActs(t, 9)
	close(k.events)
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	for i, want := range []struct{ verdict, rule, failOpen string }{
		{"allow", "", "digest_unknown"}, {"allow", "", ""}, {"deny", "unlisted", ""}, {"deny", "odd", ""}, {"deny", "odd", ""}, {"allow", "", ""},
		{"allow", "", "digest_unknown"}, {"deny", "unsealed", ""}, {"allow", "", ""},
	} {
		d, rule := acts[i].Decision, ""
		if d.Rule != nil && d.Verdict == event.VerdictDeny {
			rule = d.Rule.ID
		}
		if d.Verdict.String() != want.verdict || rule != want.rule || d.FailOpen != want.failOpen || d.Divergence {
			t.Errorf("%s %s: %+v, want %+v", acts[i].File.Path, acts[i].File.SHA256, d, want)
		}
	}
	if n := e.Status().Counters["fail_open_digest_unknown"]; n != 2 {
		t.Errorf("%d acts had no digest", n)
	}
	for key := range k.remembered {
		if strings.HasSuffix(key, "/opt/odd") {
			t.Errorf("kept an answer about %s", key)
		}
	}
}

// TestGateDigests: an exec at the gate gets the digests that its open rules read and
// no others; that there is none of fs-verity is an answer, that nobody could say is
// none.
func TestGateDigests(t *testing.T) {
	in := &installed{digested: []restsOn{{}, {sum: true}, {verity: true}}}
	for _, tt := range []struct {
		open        []int
		verity      string
		verityErr   error
		sum, want   string
		failed, key bool
	}{
		{open: []int{0}, verity: "sha256:ab"},
		{open: []int{0, 1}, verity: "sha256:ab", sum: "ab", key: true},
		{open: []int{2}, verity: "sha256:ab", want: "sha256:ab", key: true},
		{open: []int{2}, want: event.NoVerity, key: true},
		{open: []int{1, 2}, verity: "sha512:ab", sum: "ab", want: "sha512:ab", key: true},
		{open: []int{1, 2}, verityErr: errors.New("input/output error"), failed: true},
		{open: []int{1}, verityErr: errors.New("nobody asks"), sum: "ab", key: true},
	} {
		e := &Enforcer{Options: Options{
			Digest: func(context.Context, int) (string, error) { return "ab", nil },
			Verity: func(_ int, magic uint64) (string, error) {
				if magic != unix.EXT4_SUPER_MAGIC {
					t.Errorf("asked of filesystem %#x", magic)
				}
				return tt.verity, tt.verityErr
			},
		}}
		h := &Held{e: e, in: in, ev: execOf(1, "/opt/a"), key: "key", open: tt.open}
		h.ev.File.FsMagic = unix.EXT4_SUPER_MAGIC
		err := h.digest(t.Context())
		if f := h.ev.File; (err != nil) != tt.failed || f.SHA256 != tt.sum || f.Verity != tt.want || (h.key != "key") != tt.key {
			t.Errorf("%+v: %q, %q, %v, key %v", tt, f.SHA256, f.Verity, err, h.key)
		}
		if tt.failed || !tt.key {
			continue
		}
		record := execOf(1, "/opt/a")
		record.Decision.Source = event.SourceGate
		e.sums.complete(record)
		if record.File.SHA256 != tt.sum || record.File.Verity != tt.want {
			t.Errorf("%+v: the record has %q, %q", tt, record.File.SHA256, record.File.Verity)
		}
	}
}
