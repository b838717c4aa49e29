package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/hashicorp/go-hclog"
	"github.com/spf13/pflag"

	"example.com/bailiff/bpf"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/internal/rollout"
	"example.com/bailiff/internal/spool"
	sources "example.com/bailiff/policy/source"
)

// config is everything that `bailiff run` can be told, by flags or by a YAML
// file with these keys. docs/operating.md explains each.
type config struct {
	Mode     string       `yaml:"mode"`
	Bundle   string       `yaml:"bundle"`
	Packs    []string     `yaml:"packs"`
	Policy   policyConfig `yaml:"policy"`
	Backend  string       `yaml:"backend"`
	Scope    []string     `yaml:"scope"`
	Rescue   []string     `yaml:"rescue"`
	Events   eventsConfig `yaml:"events"`
	Redact   redactConfig `yaml:"redact"`
	Canary   canaryConfig `yaml:"canary"`
	Spool    spoolConfig  `yaml:"spool"`
	StepDown stepsConfig  `yaml:"step_down"`
	StateDir string       `yaml:"state_dir"`
	Force    bool         `yaml:"force"`
	Gate     gateConfig   `yaml:"gate"`
	Sinks    []sinkConfig `yaml:"sinks"`
	Cluster  string       `yaml:"cluster"`
	Socket   string       `yaml:"socket"`
	Listen   listenConfig `yaml:"listen"`
	Metrics  string       `yaml:"metrics"`
	Log      logConfig    `yaml:"log"`
	RingSize int          `yaml:"ring_bytes"`
	BPFStats bool         `yaml:"bpf_stats"`

	DecisionLogs decisionLogsConfig `yaml:"decision_logs"`
	SinkFlags    []string           `yaml:"-"` // --sink
}

type eventsConfig struct {
	AllOpens bool     `yaml:"all_opens"`
	Env      []string `yaml:"env"`
}

type spoolConfig struct {
	Dir      string        `yaml:"dir"`
	MaxBytes int64         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"`
	MinFree  int64         `yaml:"min_free"`
	Sync     string        `yaml:"sync"`
	Compress string        `yaml:"compress"`
}

type stepsConfig struct {
	Programs int           `yaml:"programs"`
	Cgroups  int           `yaml:"cgroups"`
	Window   time.Duration `yaml:"window"`
	Never    []string      `yaml:"never"`
}

type listenConfig struct {
	Address   string   `yaml:"address"`
	Cert      string   `yaml:"cert"`
	Key       string   `yaml:"key"`
	ClientCA  string   `yaml:"client_ca"`
	Operators []string `yaml:"operators"`
	Readers   []string `yaml:"readers"`
}

type logConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

// flags binds the configuration to flags, whose defaults are the defaults.
func (c *config) flags(f *pflag.FlagSet) {
	f.StringVar(&c.Mode, "mode", "audit", "audit (deny verdicts are recorded) or enforce (they block)")
	f.StringVar(&c.Bundle, "bundle", "", "directory or tar.gz file with the rules, or https://, oci:// where they are fetched (default: the embedded ones)")
	packsFlag(f, &c.Packs)
	c.Policy.flags(f)
	f.StringVar(&c.Backend, "backend", bpf.BackendAuto, "auto, lsm, modify-return or tracepoint")
	f.StringArrayVar(&c.Scope, "scope", nil, "cgroup directory to which enforcement is limited, with everything below; repeat for more (default: the whole machine)")
	f.StringArrayVar(&c.Rescue, "rescue", nil, "program that is never denied, by path; repeat for more")
	f.BoolVar(&c.Events.AllOpens, "all-opens", false, "report every open in scope, not only those that rules concern")
	f.StringSliceVar(&c.Events.Env, "env", []string{"LD_PRELOAD", "LD_AUDIT", "LD_LIBRARY_PATH"},
		"environment variables to report with an exec and to show to rules")
	c.Redact.flags(f)
	c.Canary.flags(f)
	f.StringVar(&c.Spool.Dir, "spool", "/var/lib/bailiff/spool", "keep every event in this directory, so that clients can read on where they stopped; off: keep none")
	f.Int64Var(&c.Spool.MaxBytes, "spool-max-bytes", 1<<30, "size of the spool, after which the oldest events go")
	f.DurationVar(&c.Spool.MaxAge, "spool-max-age", 7*24*time.Hour, "age of events in the spool, after which they go")
	f.Int64Var(&c.Spool.MinFree, "spool-min-free", 256<<20, "bytes of the disk that the spool leaves free: below it the oldest events go, and at last nothing is kept")
	f.StringVar(&c.Spool.Compress, "spool-compress", string(spool.CompressNone), "none, or zstd: a fifth of the disk for 2 us more of processor time an event")
	f.StringVar(&c.Spool.Sync, "spool-sync", string(spool.SyncInterval), "when events outlast a power failure: always, interval (each second; denials at once) or never")
	f.IntVar(&c.StepDown.Programs, "step-down-programs", 5, "a rule that denies more distinct programs than this within the window goes to audit mode by itself; 0: never")
	f.IntVar(&c.StepDown.Cgroups, "step-down-cgroups", 5, "the same for services (cgroups); 0: never")
	f.DurationVar(&c.StepDown.Window, "step-down-window", time.Minute, "that window")
	f.StringArrayVar(&c.StepDown.Never, "step-down-never", nil, "id of a rule that never does; repeat for more")
	f.StringVar(&c.StateDir, "state-dir", defaultStateDir, "directory for what outlasts a restart: kept modes, the applied bundle")
	f.BoolVar(&c.Force, "force", false, "enforce from the start on even if that would lock out init, the agent, the package manager or root's login")
	f.StringArrayVar(&c.Gate.Mounts, "gate-mount", nil, "mount point on whose filesystem execs are held for rules that ask for it; repeat for more (default: wherever programs can be)")
	f.DurationVar(&c.Gate.Deadline, "gate-deadline", 250*time.Millisecond, "how long an exec is held before its rule's default is taken")
	c.DecisionLogs.flags(f)
	f.StringArrayVar(&c.SinkFlags, "sink", nil, "another way out for events: file:PATH (- is standard output), otlp://HOST:PORT, nats://HOST:PORT or syslog://HOST:PORT, with ?format=ocsf|ecs|json and the other keys of docs/siem.md; repeat for more")
	f.StringVar(&c.Cluster, "cluster", "", "name of the group that this machine belongs to, for receivers of many machines")
	f.StringVar(&c.Listen.Address, "listen", "", "also serve on this TCP address, with mutual TLS")
	f.StringVar(&c.Listen.Cert, "tls-cert", "", "certificate of the agent (PEM)")
	f.StringVar(&c.Listen.Key, "tls-key", "", "its private key (PEM)")
	f.StringVar(&c.Listen.ClientCA, "tls-client-ca", "", "CA of the clients (PEM)")
	f.StringArrayVar(&c.Listen.Operators, "tls-operator", nil, "name in a client certificate that may change mode and policy: cn:NAME, dns:NAME, uri:URI or uri:URI/*")
	f.StringArrayVar(&c.Listen.Readers, "tls-reader", nil, "name in a client certificate that may read (default: everybody with a certificate)")
	f.StringVar(&c.Metrics, "metrics-listen", "", "serve Prometheus metrics on this TCP address")
	f.StringVar(&c.Log.Level, "log-level", "info", "trace, debug, info, warn or error")
	f.StringVar(&c.Log.Format, "log-format", "text", "text or json")
	f.IntVar(&c.RingSize, "ring-bytes", 0, "size of the kernel's event buffer (0: 8 MiB)")
	f.BoolVar(&c.BPFStats, "bpf-stats", false, "make the kernel measure the run time of BPF programs, for the metrics (some 20 ns for each run)")
}

// load reads the file into c, on which the flags stand that were given: those
// stay, all else is the file's, or the default.
func (c *config) load(path string, f *pflag.FlagSet) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	given := map[*pflag.Flag][]string{}
	f.Visit(func(fl *pflag.Flag) {
		if list, ok := fl.Value.(pflag.SliceValue); ok {
			given[fl] = list.GetSlice()
			return
		}
		given[fl] = []string{fl.Value.String()}
	})
	err = yaml.NewDecoder(bytes.NewReader(b), yaml.Strict()).Decode(c)
	if err != nil && !errors.Is(err, io.EOF) { // an empty file says nothing
		return configError(path, err)
	}
	if err := c.checkSinks(path, b); err != nil {
		return err
	}
	for fl, values := range given {
		list, ok := fl.Value.(pflag.SliceValue)
		if ok {
			err = list.Replace(values)
		} else {
			err = fl.Value.Set(values[0])
		}
		if err != nil {
			return fmt.Errorf("apply --%s: %w", fl.Name, err)
		}
	}
	return nil
}

// configError says what is wrong, where, and which key was probably meant.
func configError(path string, err error) error {
	out := &userError{Code: "config", File: path, Why: err.Error()}
	var y yaml.Error
	if !errors.As(err, &y) {
		return out
	}
	out.Why = y.GetMessage()
	key := ""
	if t := y.GetToken(); t != nil {
		out.Line, key = t.Position.Line, t.Value
	}
	var unknown *yaml.UnknownFieldError
	var typed *yaml.TypeError
	switch {
	case errors.As(err, &unknown):
		out.Why = fmt.Sprintf("unknown key %q", key)
		out.Hint = "docs/operating.md lists the keys"
		if k := nearest(key, configKeys()); k != "" {
			out.Hint = fmt.Sprintf("did you mean %q?", k)
		}
	case errors.As(err, &typed):
		out.Why = fmt.Sprintf("a value of type %s is expected here", typed.DstType)
	}
	return out
}

// validate checks what can be checked before anything is touched, and makes
// paths absolute.
func (c *config) validate() error {
	bad := func(key, format string, args ...any) error {
		return &userError{Code: "config", Why: key + ": " + fmt.Sprintf(format, args...)}
	}
	if _, err := event.ParseMode(c.Mode); err != nil {
		return bad("mode", "%q is not one of audit, enforce", c.Mode)
	}
	backends := []string{bpf.BackendAuto, bpf.BackendLSM, bpf.BackendModifyReturn, bpf.BackendTracepoint}
	if !slices.Contains(backends, c.Backend) {
		return bad("backend", "%q is not one of %s", c.Backend, strings.Join(backends, ", "))
	}
	if hclog.LevelFromString(c.Log.Level) == hclog.NoLevel {
		return bad("log.level", "%q is not one of trace, debug, info, warn, error", c.Log.Level)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		return bad("log.format", "%q is not one of text, json", c.Log.Format)
	}
	for _, p := range c.Rescue {
		if !filepath.IsAbs(p) {
			return bad("rescue", "%q is not an absolute path", p)
		}
	}
	for _, p := range c.Scope {
		if !filepath.IsAbs(p) {
			return bad("scope", "%q is not an absolute path", p)
		}
	}
	for key, addr := range map[string]string{"listen.address": c.Listen.Address, "metrics": c.Metrics} {
		if _, _, err := net.SplitHostPort(addr); addr != "" && err != nil {
			return bad(key, "%v", err)
		}
	}
	l := &c.Listen
	if l.Address != "" && (l.Cert == "" || l.Key == "" || l.ClientCA == "") {
		return bad("listen", "cert, key and client_ca are all required: events are not offered on TCP without mutual TLS")
	}
	for key, list := range map[string][]string{"listen.operators": l.Operators, "listen.readers": l.Readers} {
		for _, o := range list {
			if kind, name, _ := strings.Cut(o, ":"); name == "" || kind != "cn" && kind != "dns" && kind != "uri" {
				return bad(key, "%q is not cn:NAME, dns:NAME or uri:URI", o)
			}
		}
	}
	if _, err := c.Redact.redactor(); err != nil {
		return err
	}
	if err := c.Canary.validate(); err != nil {
		return err
	}
	s := &c.Spool
	if syncs := []spool.Sync{spool.SyncAlways, spool.SyncInterval, spool.SyncNever}; !slices.Contains(syncs, spool.Sync(s.Sync)) {
		return bad("spool.sync", "%q is not one of always, interval, never", s.Sync)
	}
	if packs := []spool.Compression{spool.CompressNone, spool.CompressZstd}; !slices.Contains(packs, spool.Compression(s.Compress)) {
		return bad("spool.compress", "%q is not one of none, zstd", s.Compress)
	}
	if s.MinFree < 0 {
		return bad("spool.min_free", "%d is less than 0", s.MinFree)
	}
	if s.Dir == "" {
		return bad("spool.dir", "no directory is given; to keep nothing say off")
	}
	if s.MaxBytes < minSpool {
		return bad("spool.max_bytes", "%d is less than %d", s.MaxBytes, minSpool)
	}
	if s.MaxAge < time.Minute {
		return bad("spool.max_age", "%v is less than a minute", s.MaxAge)
	}
	if d := c.Gate.Deadline; d < time.Millisecond || d > time.Minute {
		return bad("gate.deadline", "%v is not between a millisecond and a minute", d)
	}
	for _, p := range c.Gate.Mounts {
		if !filepath.IsAbs(p) {
			return bad("gate.mounts", "%q is not an absolute path", p)
		}
	}
	if d := &c.StepDown; d.Programs < 0 || d.Cgroups < 0 || d.Window < time.Second {
		return bad("step_down", "programs and cgroups are at least 0, window at least a second")
	}
	if _, err := c.DecisionLogs.options(); err != nil {
		return err
	}
	if err := c.addSinks(); err != nil {
		return err
	}
	if c.RingSize < 0 {
		return bad("ring_bytes", "%d is less than 0", c.RingSize)
	}
	for _, p := range []*string{&c.Bundle, &c.Socket, &c.Spool.Dir, &c.Policy.State, &c.StateDir} {
		if *p == "" || sources.Remote(*p) || p == &c.Spool.Dir && *p == spoolOff || p == &c.Policy.State && *p == stateOff {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return fmt.Errorf("find %s: %w", *p, err)
		}
		*p = abs
	}
	return nil
}

// modes are those of the configuration, with what the operator wants to outlast
// a restart laid over them. unread says that this could not be read; nothing of
// it then is in modes.
func (c *config) modes() (m event.Modes, kept *rollout.Kept, unread, err error) {
	if m.All, err = event.ParseMode(c.Mode); err != nil {
		return m, nil, nil, err
	}
	kept, unread = rollout.OpenKept(filepath.Join(c.StateDir, "modes.json"))
	return kept.Into(m), kept, unread, nil
}
