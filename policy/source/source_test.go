package source_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"example.com/bailiff/policy"
	"example.com/bailiff/policy/hostile"
	"example.com/bailiff/policy/source"
)

const patience = 60 * time.Second

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

func open(t testing.TB, o source.Options) *source.Source {
	t.Helper()
	o.Remote.MinDelay, o.Remote.MaxDelay = time.Second, time.Second
	s, err := source.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// news is one call of Follow's function.
type news struct {
	c   *source.Candidate
	err error
}

// follow collects what Follow tells and puts each candidate in force, unless
// fail returns an error for it.
func follow(t *testing.T, s *source.Source, fail func(*source.Candidate) error) <-chan news {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	out, done := make(chan news, 1024), make(chan error, 1)
	go func() {
		done <- s.Follow(ctx, func(_ context.Context, c *source.Candidate, err error) error {
			if c != nil && fail != nil {
				if err := fail(c); err != nil {
					return err
				}
			}
			if c != nil {
				if err := c.Keep(); err != nil {
					return err
				}
			}
			out <- news{c, err}
			return err
		})
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return out
}

// until waits for news that match.
func until(t *testing.T, from <-chan news, what string, match func(news) bool) news {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	var last news
	for {
		select {
		case last = <-from:
			if match(last) {
				return last
			}
		case <-timer.C:
			t.Fatalf("%s did not come; the last news: %+v", what, last)
		}
	}
}

func revision(want string) func(news) bool {
	return func(n news) bool { return n.c != nil && n.c.Report.Revision == want }
}

func refused(code string) func(news) bool {
	return func(n news) bool {
		var list policy.Errors
		return errors.As(n.err, &list) && list[0].Code == code
	}
}

// shelf is a web server that knows ETag, long polling and deltas, as the
// protocol of OPA's bundles describes them.
type shelf struct {
	mu      sync.Mutex
	changed chan struct{} // closed at each change
	etag    string
	whole   []byte
	delta   map[string][]byte // by the ETag that it is for
}

func (s *shelf) put(etag string, whole []byte, from string, delta []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etag, s.whole, s.delta = etag, whole, map[string][]byte{from: delta}
	if s.changed != nil {
		close(s.changed)
	}
	s.changed = make(chan struct{})
}

func (s *shelf) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	changed := s.changed
	fresh := s.etag != r.Header.Get("If-None-Match")
	s.mu.Unlock()
	prefer := r.Header.Get("Prefer")
	if !fresh && strings.Contains(prefer, "wait=") {
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/vnd.openpolicyagent.bundles")
	w.Header().Set("ETag", s.etag)
	if delta := s.delta[r.Header.Get("If-None-Match")]; delta != nil && strings.Contains(prefer, "delta") {
		_, _ = w.Write(delta)
		return
	}
	if s.etag == r.Header.Get("If-None-Match") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(s.whole)
}

func delta(revision, base string, serial int, patch string) hostile.Files {
	return hostile.Files{
		".manifest":  fmt.Sprintf(`{"revision": %q, "metadata": {"bailiff": {"serial": %d, "base": %q}}}`, revision, serial, base),
		"patch.json": `{"data": [` + patch + `]}`,
	}
}

// TestDeltas: changes are applied to the bundle in force, arrive at once where
// the server holds requests, are signed like any bundle, and a delta that does
// not fit is answered by asking for the whole.
func TestDeltas(t *testing.T) {
	k := hostile.NewSigner("k1", "prod")
	for _, signed := range []bool{false, true} {
		t.Run(fmt.Sprintf("signed=%v", signed), func(t *testing.T) {
			o := source.Options{State: filepath.Join(t.TempDir(), "state.tar")}
			pack := func(f hostile.Files) []byte { return f.Pack() }
			if signed {
				o.Policy.Keys = keysOf(t, k)
				pack = func(f hostile.Files) []byte { return k.Sign(f).Pack() }
			}
			sh := &shelf{}
			sh.put("e1", pack(hostile.Good("r1", 1)), "", nil)
			server := httptest.NewServer(sh)
			t.Cleanup(server.Close)
			o.Address = server.URL + "/bundle.tar.gz"
			s := open(t, o)
			from := follow(t, s, nil)
			until(t, from, "r1", revision("r1"))

			sh.put("e2", nil, "e1", pack(delta("r2", "r1", 2, `{"op": "upsert", "path": "/programs/~1opt~1two", "value": true}`)))
			n := until(t, from, "the delta", revision("r2"))
			if got := n.c.Policy.Program().Rules; len(fmt.Sprint(got)) == 0 || !strings.Contains(fmt.Sprint(got), "/opt/two") || !strings.Contains(fmt.Sprint(got), "/opt/hostile/program") {
				t.Errorf("the delta is not in the program: %v", got)
			}

			// Not for what is in force: refused, and the whole is asked for.
			sh.put("e4", pack(hostile.Good("r4", 4)), "e2", pack(delta("r4", "r3", 4, `{"op": "remove", "path": "/programs"}`)))
			until(t, from, "the refusal", refused(policy.CodeDelta))
			until(t, from, "the whole", revision("r4"))
			// A change that cannot be made.
			sh.put("e5", pack(hostile.Good("r5", 5)), "e4", pack(delta("r5", "r4", 5, `{"op": "replace", "path": "/nothing/here", "value": 1}`)))
			until(t, from, "the refusal", refused(policy.CodeDelta))
			until(t, from, "the whole", revision("r5"))
			if signed {
				sh.put("e6", pack(hostile.Good("r6", 6)), "e5", delta("r6", "r5", 6, `{"op": "remove", "path": "/programs"}`).Pack())
				until(t, from, "the refusal", refused(policy.CodeSignature))
				sh.put("e7", pack(hostile.Good("r7", 7)), "", nil)
				until(t, from, "the whole", revision("r7"))
			}
			last := map[bool]string{true: "r8", false: "r6"}[signed]
			was := map[bool]string{true: "r7", false: "r5"}[signed]
			etag := map[bool]string{true: "e7", false: "e5"}[signed]
			sh.put("e9", nil, etag, pack(delta(last, was, 9, `{"op": "upsert", "path": "/programs/~1opt~1last", "value": true}`)))
			until(t, from, "the last", revision(last))

			// What is kept is bundle and delta, verified again at the next start.
			c, err := open(t, o).Kept(t.Context())
			if err != nil || c.Report.Revision != last || !strings.Contains(fmt.Sprint(c.Policy.Program().Rules), "/opt/last") {
				t.Fatalf("kept: %+v, %v", c, err)
			}
			if signed {
				o.Policy.Keys = keysOf(t, hostile.NewSigner("k1", "prod"))
				if _, err := open(t, o).Kept(t.Context()); !refused(policy.CodeSignature)(news{err: err}) {
					t.Errorf("kept, with another key: %v", err)
				}
			}
		})
	}
}

// TestTransientFailure: a good bundle that the kernel would not take is fetched
// and offered again, though the server's ETag has not changed.
func TestTransientFailure(t *testing.T) {
	sh := &shelf{}
	sh.put("e1", hostile.Good("r1", 1).Pack(), "", nil)
	server := httptest.NewServer(sh)
	defer server.Close()
	tries := 0
	from := follow(t, open(t, source.Options{Address: server.URL + "/b"}), func(*source.Candidate) error {
		if tries++; tries < 3 {
			return errors.New("table is full")
		}
		return nil
	})
	until(t, from, "r1", revision("r1"))
	if tries != 3 {
		t.Errorf("%d tries", tries)
	}
}

// TestKeyRotation: two keys are good at a time; when the old one is taken out
// of the configuration what it signed is refused, whatever it says of itself.
func TestKeyRotation(t *testing.T) {
	old, next := hostile.NewSigner("k1", "prod"), hostile.NewSigner("k2", "prod")
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	fetch := func(raw []byte, keys *policy.Keys) (*source.Candidate, error) {
		if err := os.WriteFile(file, raw, 0o600); err != nil {
			t.Fatal(err)
		}
		return open(t, source.Options{Address: file, Policy: policy.Options{Keys: keys}}).Fetch(t.Context(), false)
	}
	byOld, byNext := old.Sign(hostile.Good("r1", 1)).Pack(), next.Sign(hostile.Good("r2", 2)).Pack()
	for _, tt := range []struct {
		raw  []byte
		keys *policy.Keys
		id   string // "": refused
	}{
		{byOld, keysOf(t, old), "k1"}, {byNext, keysOf(t, old), ""},
		{byOld, keysOf(t, old, next), "k1"}, {byNext, keysOf(t, old, next), "k2"},
		{byOld, keysOf(t, next), ""}, {byNext, keysOf(t, next), "k2"},
	} {
		c, err := fetch(tt.raw, tt.keys)
		switch {
		case tt.id == "" && !refused(policy.CodeSignature)(news{err: err}):
			t.Errorf("got %v, want a refusal", err)
		case tt.id != "" && (err != nil || c.Report.KeyID != tt.id):
			t.Errorf("got %+v, %v, want it by %s", c, err, tt.id)
		}
	}
}

// TestRollback: what is older is refused, also by the next run, until the
// operator says so; and what is kept survives damage of the file aside.
func TestRollback(t *testing.T) {
	dir := t.TempDir()
	o := source.Options{Address: filepath.Join(dir, "b.tar.gz"), State: filepath.Join(dir, "state", "s.tar")}
	write := func(f hostile.Files) {
		if err := os.WriteFile(o.Address, f.Pack(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	accept := func(s *source.Source, rollback bool) error {
		c, err := s.Fetch(t.Context(), rollback)
		if err == nil {
			err = c.Keep()
		}
		return err
	}
	s := open(t, o)
	write(hostile.Good("r5", 5))
	if err := accept(s, false); err != nil {
		t.Fatal(err)
	}
	write(hostile.Good("r4", 4))
	if err := accept(s, false); !refused(policy.CodeRollback)(news{err: err}) {
		t.Errorf("older: %v", err)
	}
	next := open(t, o)
	if err := errors.Join(next.Remember(), accept(next, false)); !refused(policy.CodeRollback)(news{err: err}) {
		t.Errorf("older, after a restart: %v", err)
	}
	if err := accept(next, true); err != nil {
		t.Errorf("older, as the operator says: %v", err)
	}
	write(hostile.Good("r3", 3))
	if err := accept(next, false); !refused(policy.CodeRollback)(news{err: err}) {
		t.Errorf("older than the older one: %v", err)
	}
	o.AllowRollback = true
	allowed := open(t, o)
	if err := errors.Join(allowed.Remember(), accept(allowed, false)); err != nil {
		t.Errorf("older, as the configuration says: %v", err)
	}
	write(hostile.Good("r2", 2))
	if err := accept(allowed, false); !refused(policy.CodeRollback)(news{err: err}) {
		t.Errorf("the configuration allows one roll-back: %v", err)
	}
	if err := os.Truncate(o.State, 700); err != nil {
		t.Fatal(err)
	}
	if c, err := open(t, o).Kept(t.Context()); err == nil || errors.Is(err, source.ErrNothingKept) {
		t.Errorf("a damaged state: %v, %v", c, err)
	}
}

// TestAddresses: what is not trustworthy or not understood is refused before
// anything is fetched.
func TestAddresses(t *testing.T) {
	keys := keysOf(t, hostile.NewSigner("k1", ""))
	for _, tt := range []struct {
		address string
		keys    *policy.Keys
		ok      bool
	}{
		{"https://h/b.tar.gz", nil, true}, {"http://h/b.tar.gz", nil, false}, {"http://h/b.tar.gz", keys, true},
		{"http://127.0.0.1:8080/b", nil, true}, {"oci://r/n:1", nil, true}, {"oci://r/n", nil, false}, {"oci+http://r/n:1", nil, false},
		{"https://u:p@h/b", nil, false}, {"https://h", nil, false}, {"ftp://h/b", nil, false}, {"/etc/bailiff/rules", nil, true},
	} {
		if _, err := source.New(source.Options{Address: tt.address, Policy: policy.Options{Keys: tt.keys}}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.address, err)
		}
	}
}

// late is another process that has done everything, but not in time.
type late struct{ lowered *policy.Lowered }

func (l late) Did(ctx context.Context, s policy.Step) (bool, error) {
	if s == policy.StepLower {
		<-ctx.Done()
	}
	return true, nil
}
func (l late) Lowered() *policy.Lowered { return l.lowered }

// TestLate: a bundle that takes longer than it may is not put in force, though
// nobody noticed on the way.
func TestLate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	if err := os.WriteFile(file, hostile.Good("r1", 1).Pack(), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := open(t, source.Options{Address: file}).Fetch(t.Context(), false)
	if err != nil {
		t.Fatal(err)
	}
	o := source.Options{Address: file, CompileTime: time.Second, Try: func(context.Context, [][]byte) (policy.Ahead, func()) {
		return late{c.Policy.Lowered()}, func() {}
	}}
	if _, err := open(t, o).Fetch(t.Context(), false); !refused(policy.CodeUnbounded)(news{err: err}) {
		t.Errorf("got %v, want a refusal", err)
	}
}
