package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"example.com/bailiff/policy"
	sources "example.com/bailiff/policy/source"
)

// policyConfig says how the bundle is fetched and what is asked of it.
type policyConfig struct {
	Keys          []keyConfig    `yaml:"keys"`
	Scope         string         `yaml:"scope"`
	State         string         `yaml:"state"`
	AllowRollback bool           `yaml:"allow_rollback"`
	BootWait      time.Duration  `yaml:"boot_wait"`
	CA            string         `yaml:"ca"`
	Cert          string         `yaml:"cert"`
	Key           string         `yaml:"key"`
	TokenFile     string         `yaml:"token_file"`
	Service       map[string]any `yaml:"service"`
	MinDelay      time.Duration  `yaml:"min_delay"`
	MaxDelay      time.Duration  `yaml:"max_delay"`
	LongPoll      time.Duration  `yaml:"long_poll"`
	Limits        limitsConfig   `yaml:"limits"`

	keyFlags  []string
	noDigests func(string) bool // this kernel does not know this one; nil: nobody knows
}

type keyConfig struct {
	ID        string `yaml:"id"`
	Algorithm string `yaml:"algorithm"`
	File      string `yaml:"file"`
	Scope     string `yaml:"scope"`
}

type limitsConfig struct {
	ArchiveBytes  int64         `yaml:"archive_bytes"`
	TotalBytes    int64         `yaml:"total_bytes"`
	FileBytes     int64         `yaml:"file_bytes"`
	RegoBytes     int64         `yaml:"rego_bytes"`
	Entries       int           `yaml:"entries"`
	Nesting       int           `yaml:"nesting"`
	Digits        int           `yaml:"digits"`
	Rules         int           `yaml:"rules"`
	CompileTime   time.Duration `yaml:"compile_time"`
	CompileMemory int64         `yaml:"compile_memory"`
}

// stateOff as policy.state keeps no bundle.
const stateOff = "none"

// defaultState is where the last good bundle is kept, if it came over a network.
const defaultState = "/var/lib/bailiff/bundle.tar"

func (p *policyConfig) flags(f *pflag.FlagSet) {
	p.Keys, p.Service = []keyConfig{}, map[string]any{}
	f.StringArrayVar(&p.keyFlags, "policy-key", nil, "accept only bundles signed with this key, ID:ALGORITHM:FILE (k1:ES256:/etc/bailiff/k1.pem); repeat for more")
	f.StringVar(&p.Scope, "policy-scope", "", "scope that a signature must name")
	f.StringVar(&p.State, "policy-state", "", "file that keeps the last good bundle for a start without network (default: "+defaultState+" for a remote bundle, none for a local one; none: keep none)")
	f.BoolVar(&p.AllowRollback, "allow-rollback", false, "accept once a bundle that is older than the one that was last in force")
	f.DurationVar(&p.BootWait, "policy-boot-wait", 10*time.Second, "how long a start waits for a remote bundle when none is kept")
	f.StringVar(&p.CA, "policy-ca", "", "CA of the bundle server (PEM; default: those of the system)")
	f.StringVar(&p.Cert, "policy-cert", "", "certificate that the agent shows to the bundle server (PEM)")
	f.StringVar(&p.Key, "policy-cert-key", "", "its private key (PEM)")
	f.StringVar(&p.TokenFile, "policy-token-file", "", "file with a bearer token for the bundle server; for a registry, with user:password")
	f.DurationVar(&p.MinDelay, "policy-min-delay", 30*time.Second, "shortest time between two looks at a remote bundle")
	f.DurationVar(&p.MaxDelay, "policy-max-delay", time.Minute, "longest time between two looks")
	f.DurationVar(&p.LongPoll, "policy-long-poll", 5*time.Minute, "how long a server that can may hold a request until the bundle changes; 0: do not ask for that")
}

// signingKeys reads the keys; nil if there are none.
func (p *policyConfig) signingKeys() (*policy.Keys, error) {
	list := p.Keys
	if len(p.keyFlags) > 0 {
		list = nil
	}
	for _, s := range p.keyFlags {
		parts := strings.SplitN(s, ":", 3)
		if len(parts) != 3 {
			return nil, &userError{Code: "config", Why: fmt.Sprintf("policy.keys: %q is not ID:ALGORITHM:FILE", s)}
		}
		list = append(list, keyConfig{ID: parts[0], Algorithm: parts[1], File: parts[2]})
	}
	if len(list) == 0 {
		if p.Scope != "" {
			return nil, &userError{Code: "config", Why: "policy.scope: there is no key whose signatures could name it", Hint: "set policy.keys too"}
		}
		return nil, nil
	}
	var ks []policy.Key
	for _, k := range list {
		b, err := os.ReadFile(k.File)
		if err != nil {
			return nil, &userError{Code: "config", Why: fmt.Sprintf("policy.keys: %v", err)}
		}
		text := string(b)
		if strings.HasPrefix(k.Algorithm, "HS") {
			text = strings.TrimSpace(text)
		}
		ks = append(ks, policy.Key{ID: k.ID, Algorithm: k.Algorithm, Key: text, Scope: k.Scope})
	}
	keys, err := policy.NewKeys(ks, p.Scope)
	if err != nil {
		return nil, &userError{Code: "config", Why: fmt.Sprintf("policy.keys: %v", err)}
	}
	return keys, nil
}

// open makes the source of the bundle; nil for the embedded rules.
func (p *policyConfig) open(bundle string, packs []policy.Pack, pace *pacer, log hclog.Logger) (*sources.Source, error) {
	keys, err := p.signingKeys()
	if err != nil {
		return nil, err
	}
	if bundle == "" {
		if keys != nil {
			return nil, &userError{Code: "config", Why: "policy.keys: the embedded rules are not signed", Hint: "name a bundle (--bundle), or leave the keys out"}
		}
		return nil, nil
	}
	l := p.Limits
	limits := policy.Limits{ArchiveBytes: l.ArchiveBytes, TotalBytes: l.TotalBytes, FileBytes: l.FileBytes, RegoBytes: l.RegoBytes,
		Entries: l.Entries, Nesting: l.Nesting, Digits: l.Digits, Rules: l.Rules}
	if l.CompileMemory <= 0 {
		l.CompileMemory = 1 << 30
	}
	state := p.State
	switch {
	case state == stateOff:
		state = ""
	case state == "" && sources.Remote(bundle):
		state = defaultState
	}
	t := &trier{limits: limits, packs: packs, memory: l.CompileMemory, log: log}
	long := p.LongPoll
	if long <= 0 {
		long = -1
	}
	s, err := sources.New(sources.Options{
		Address: bundle, Policy: policy.Options{Limits: limits, Keys: keys, Packs: packs, NoDigests: p.noDigests}, State: state, AllowRollback: p.AllowRollback,
		Try: t.try, Loading: pace.begin, CompileTime: l.CompileTime, Log: log,
		Remote: sources.Remoting{CA: p.CA, Cert: p.Cert, Key: p.Key, TokenFile: p.TokenFile, Service: p.Service,
			MinDelay: p.MinDelay, MaxDelay: p.MaxDelay, LongPoll: long},
	})
	if err != nil {
		return nil, &userError{Code: "config", Why: "bundle: " + err.Error()}
	}
	return s, nil
}
