package source

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"

	"example.com/bailiff/policy"
)

// Options says where a bundle comes from and what is asked of it.
type Options struct {
	Address string         // a directory, a tar.gz file, or https://, http://, oci://, oci+http://
	Policy  policy.Options // limits, keys, what the backend can run
	Remote  Remoting       // of a bundle that comes over a network
	State   string         // file that keeps the last bundle that came into force; "": none is kept

	// AllowRollback accepts one bundle that is older than the kept one.
	AllowRollback bool
	// Try, if not nil, begins to load the bundle in another process. The archives
	// are the bundle and the deltas on top of it. end stops what still runs,
	// and waits for that.
	Try func(ctx context.Context, archives [][]byte) (ahead policy.Ahead, end func())
	// Loading, if not nil, is called when a bundle is about to be loaded here:
	// with 0, and with the size of its files, unpacked, in bytes, when that is
	// known. What it returns is called when that has come to an end.
	Loading func(bytes int64) (end func())
	// CompileTime bounds how long loading one bundle may take, all in all;
	// default 30 s.
	CompileTime time.Duration
	Log         hclog.Logger
}

// Remoting is how a remote bundle is fetched.
type Remoting struct {
	CA        string         // file with the CAs that the server's certificate may be signed by (PEM); "": those of the system
	Cert, Key string         // files with our certificate and key, where the server wants to know us
	TokenFile string         // file with a bearer token; for a registry, with user:password. Read anew for each request
	Service   map[string]any // further settings in OPA's own terms for a service: credentials, headers, tls
	MinDelay  time.Duration  // between polls; default 30 s
	MaxDelay  time.Duration  // default 60 s
	LongPoll  time.Duration  // how long a server that can may hold a request; default 5 min; below a second: not at all
}

// Source is one place that bundles come from. Its methods may be called from
// any goroutine.
type Source struct {
	o     Options
	where location
	log   hclog.Logger

	mu       sync.Mutex
	archives [][]byte // of what is in force: a bundle and deltas; nil: not from here
	floor    floor
	allow    bool // one roll-back is allowed
}

// floor is what is in force, or was last: nothing older comes after it.
type floor struct {
	Set      bool              `json:"-"`
	Revision string            `json:"revision"`
	Serial   uint64            `json:"serial"`
	Digest   [sha256.Size]byte `json:"digest"`
}

// New checks the options. Nothing is read yet.
func New(o Options) (*Source, error) {
	if o.Log == nil {
		o.Log = hclog.NewNullLogger()
	}
	if o.CompileTime <= 0 {
		o.CompileTime = 30 * time.Second
	}
	if o.Remote.MinDelay <= 0 {
		o.Remote.MinDelay = 30 * time.Second
	}
	if o.Remote.MaxDelay <= 0 {
		o.Remote.MaxDelay = 2 * o.Remote.MinDelay
	}
	if o.Remote.LongPoll == 0 {
		o.Remote.LongPoll = 5 * time.Minute
	}
	if o.Remote.MaxDelay < o.Remote.MinDelay {
		return nil, fmt.Errorf("make source: the longest delay between polls is shorter than the shortest")
	}
	where, err := parse(o.Address, o.Policy.Keys != nil)
	if err != nil {
		return nil, err
	}
	return &Source{o: o, where: where, log: o.Log.Named("source"), allow: o.AllowRollback}, nil
}

// String returns the address.
func (s *Source) String() string { return s.where.text }

// Remote says whether the bundle comes over a network: then Follow tells when
// it has changed.
func (s *Source) Remote() bool { return s.where.kind != kindLocal }

// Path is where a local bundle is; "" if it is remote.
func (s *Source) Path() string {
	if s.Remote() {
		return ""
	}
	return s.where.path
}

// Candidate is a bundle that could come into force.
type Candidate struct {
	Policy *policy.Policy
	Report *policy.Report
	// Kept says that it is the bundle of an earlier run.
	Kept bool

	source   *Source
	archives [][]byte
	floor    floor
	upon     floor // what was in force when it was made
}

// Fetch gets the bundle as it is now, whole, and compiles it. rollback allows it
// to be older than the one in force.
func (s *Source) Fetch(ctx context.Context, rollback bool) (c *Candidate, err error) {
	defer func() { err = s.placed(err) }()
	if s.Remote() {
		return s.fetchOnce(ctx, rollback)
	}
	a, err := policy.Open(s.where.path, s.o.Policy)
	if err != nil {
		return nil, err
	}
	var raw [][]byte
	if s.o.State != "" || s.o.Try != nil {
		var b bytes.Buffer
		if err := a.Pack(&b); err != nil {
			return nil, fmt.Errorf("pack bundle: %w", err)
		}
		raw = [][]byte{b.Bytes()}
	}
	return s.candidate(ctx, a, raw, rollback)
}

// placed gives what is wrong with a bundle as a whole a place: its name.
func (s *Source) placed(err error) error {
	var list policy.Errors
	if !errors.As(err, &list) || errors.Is(err, ErrUnreachable) {
		return err
	}
	out := make(policy.Errors, len(list))
	for i, e := range list {
		cp := *e
		if cp.File == "" {
			cp.File = path.Base(s.where.path)
		}
		out[i] = &cp
	}
	return out
}

// received makes a candidate of what came over the network: a bundle, or
// changes to the one in force.
func (s *Source) received(ctx context.Context, a *policy.Archive, raw []byte, rollback bool) (*Candidate, error) {
	if !a.Delta {
		return s.candidate(ctx, a, [][]byte{raw}, rollback)
	}
	s.mu.Lock()
	archives := s.archives
	s.mu.Unlock()
	if len(archives) == 0 {
		return nil, noBase()
	}
	if len(archives) > maxDeltas {
		return nil, errWantWhole
	}
	whole, err := s.join(append(append([][]byte{}, archives...), raw))
	if err != nil {
		return nil, err
	}
	return s.candidate(ctx, whole, append(append([][]byte{}, archives...), raw), rollback)
}

// maxDeltas is after how many deltas a whole bundle is asked for: each start
// without network applies them one by one.
const maxDeltas = 32

// errWantWhole asks for a whole bundle. Nothing is wrong.
var errWantWhole = errors.New("a whole bundle is wanted")

func noBase() error {
	return policy.Errors{{Code: policy.CodeDelta, File: "patch.json", Why: "a delta came, but no bundle from here is in force that it could change",
		Hint: "publish a whole bundle; it is asked for"}}
}

// join reads a bundle and the deltas on top of it.
func (s *Source) join(archives [][]byte) (*policy.Archive, error) {
	return Join(archives, s.o.Policy)
}

// Join reads a bundle and deltas, each verified by itself, and makes one of them.
func Join(archives [][]byte, o policy.Options) (*policy.Archive, error) {
	var whole *policy.Archive
	for _, raw := range archives {
		a, err := policy.Read(bytes.NewReader(raw), o)
		if err != nil {
			return nil, err
		}
		if whole != nil {
			if a, err = whole.Patch(a); err != nil {
				return nil, err
			}
		}
		whole = a
	}
	if whole == nil {
		return nil, io.ErrUnexpectedEOF
	}
	return whole, nil
}

// candidate checks the order of releases and compiles.
func (s *Source) candidate(ctx context.Context, a *policy.Archive, archives [][]byte, rollback bool) (*Candidate, error) {
	c := &Candidate{source: s, archives: archives, floor: floor{Set: true, Revision: a.Revision, Serial: a.Serial, Digest: a.Digest}}
	s.mu.Lock()
	c.upon = s.floor
	s.mu.Unlock()
	if err := s.admit(&c.floor, rollback); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.CompileTime)
	defer cancel()
	defer s.loading(a.Size())()
	var err error
	if s.o.Try != nil {
		ahead, end := s.o.Try(ctx, archives)
		defer end()
		c.Policy, c.Report, err = a.CompileAfter(ctx, ahead)
	} else {
		c.Policy, c.Report, err = a.Compile(ctx)
	}
	if err == nil {
		err = ctx.Err() // not each step notices that its time is up
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, policy.Errors{{Code: policy.CodeUnbounded, Why: fmt.Sprintf("the bundle is not loaded after %v", s.o.CompileTime),
			Hint: "simplify the rules (`bailiff check` shows how long each step takes), or allow more time: policy.limits.compile_time"}}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

func (s *Source) loading(bytes int64) (end func()) {
	if s.o.Loading == nil {
		return func() {}
	}
	return s.o.Loading(bytes)
}

// admit refuses what is older than what is in force. Serials are compared, not
// revisions: those are names.
func (s *Source) admit(next *floor, rollback bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.floor
	if !now.Set || rollback || s.allow {
		return nil
	}
	refuse := func(why string) error {
		return policy.Errors{{Code: policy.CodeRollback, File: ".manifest", Why: why,
			Hint: "publish it with a higher serial (metadata.bailiff.serial); or, to go back on purpose: bailiff reload --allow-rollback"}}
	}
	switch {
	case next.Serial == 0 && now.Serial > 0:
		return refuse(fmt.Sprintf("revision %s has no serial, revision %s in force has %d", next.Revision, now.Revision, now.Serial))
	case next.Serial < now.Serial:
		return refuse(fmt.Sprintf("revision %s has the serial %d, revision %s in force has %d", next.Revision, next.Serial, now.Revision, now.Serial))
	case next.Serial == now.Serial && next.Serial > 0 && next.Digest != now.Digest:
		return refuse(fmt.Sprintf("revision %s has the serial %d of revision %s in force, but other content", next.Revision, next.Serial, now.Revision))
	}
	return nil
}

// Current refuses a candidate that was made when another bundle was in force
// than is now.
func (c *Candidate) Current() error {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.floor.Set == c.upon.Set && s.floor.Digest == c.upon.Digest {
		return nil
	}
	return policy.Errors{{Code: policy.CodeRollback, Why: "another bundle came into force while this one was loaded", Hint: "it is fetched again"}}
}

// Keep is called when the candidate has come into force: it is kept for the
// next start, and nothing older is accepted from now on. An error says that it
// could not be written; it is in force all the same.
func (c *Candidate) Keep() error {
	s := c.source
	s.mu.Lock()
	defer s.mu.Unlock()
	s.floor, s.allow = c.floor, false
	if s.Remote() {
		s.archives = c.archives
	}
	if s.o.State == "" || c.Kept {
		return nil
	}
	if err := writeState(s.o.State, s.where.text, c.floor, c.archives); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	return nil
}

// same says whether what came is what is in force.
func (s *Source) same(a *policy.Archive) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !a.Delta && len(s.archives) > 0 && s.floor.Digest == a.Digest
}
