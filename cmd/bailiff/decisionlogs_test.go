package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/open-policy-agent/opa/v1/plugins/logs"
	"github.com/spf13/pflag"

	"example.com/bailiff/internal/decisionlog"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
)

// logService is a decision log service as OPA has it: it reads what is posted
// as OPA's own type.
type logService struct {
	t      *testing.T
	mu     sync.Mutex
	events []logs.EventV1
	refuse int // answers 503 so many times
	posts  int
}

func (s *logService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.posts++
	if s.refuse > 0 {
		s.refuse--
		http.Error(w, "later", http.StatusServiceUnavailable)
		return
	}
	if r.Header.Get("Content-Encoding") != "gzip" || r.Header.Get("Authorization") != "Bearer secret" || r.Method != http.MethodPost {
		s.t.Errorf("%s %v", r.Method, r.Header)
	}
	z, err := gzip.NewReader(r.Body)
	if err != nil {
		s.t.Errorf("no gzip: %v", err)
		return
	}
	var got []logs.EventV1
	if err := json.NewDecoder(z).Decode(&got); err != nil {
		s.t.Errorf("no decisions: %v", err)
	}
	s.events = append(s.events, got...)
}

// TestDecisionLogsAreOPAs: file and posts hold what OPA's own type reads, also
// through a service that is away for a while, and none is lost.
func TestDecisionLogsAreOPAs(t *testing.T) {
	service := &logService{t: t, refuse: 2}
	srv := httptest.NewTLSServer(service)
	defer srv.Close()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	var c decisionLogsConfig
	c.flags(pflag.NewFlagSet("", pflag.ContinueOnError))
	c.File, c.URL = filepath.Join(dir, "decisions.json"), srv.URL+"/logs"
	c.TokenFile = write("token", []byte("secret\n"))
	c.CA = write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	c.Labels, c.Mask, c.MaxDelay = map[string]string{"site": "a"}, []string{"/input/env"}, 100*time.Millisecond
	o, err := c.options()
	if err != nil {
		t.Fatal(err)
	}
	o.Run, o.Input = event.Run{ID: "run", Boot: "boot"}, policy.InputJSON()
	l, err := decisionlog.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); l.Run(context.Background()) }()
	const n = 500
	at := time.Date(2026, 11, 22, 1, 2, 3, 4, time.UTC)
	for i := range n {
		l.Emit(&event.Event{Seq: uint64(i + 1), Time: at, Hook: event.HookExec, Process: event.Process{PID: 7, Exe: event.File{Path: "/usr/bin/bash"}},
			File: &event.File{Path: "/tmp/\xff"}, Exec: &event.Exec{Args: []string{"a"}, Env: map[string]string{"LD_PRELOAD": "x"}}, Redacted: []string{"exec.args"},
			Decision: event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectRefused, Rule: &event.RuleRef{ID: "r", Path: "bailiff.exec.deny"}, Message: "why", Revision: "one"}})
	}
	deadline := time.After(30 * time.Second)
	for tick := time.NewTicker(10 * time.Millisecond); l.Counters()["decision_log_posted"] < n; {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%v", l.Counters())
		}
	}
	l.Close()
	<-done
	f, err := os.Open(c.File)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var written []logs.EventV1
	for s := bufio.NewScanner(f); s.Scan(); {
		var e logs.EventV1
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatalf("%s: %v", s.Bytes(), err)
		}
		written = append(written, e)
	}
	service.mu.Lock()
	defer service.mu.Unlock()
	if len(service.events) != n || len(written) != n || service.posts < 3 {
		t.Fatalf("%d posted in %d tries, %d written, %v", len(service.events), service.posts, len(written), l.Counters())
	}
	seen := map[string]bool{}
	for i, e := range service.events {
		seen[e.DecisionID] = true
		if e.DecisionID != written[i].DecisionID {
			t.Fatalf("decision %d: posted %s, written %s", i, e.DecisionID, written[i].DecisionID)
		}
	}
	e := service.events[0]
	input, _ := (*e.Input).(map[string]any)
	result, _ := (*e.Result).(map[string]any)
	if len(seen) != n || e.Path != "bailiff/exec" || e.Bundles["bailiff"].Revision != "one" || !e.Timestamp.Equal(at) ||
		e.Labels["site"] != "a" || e.Labels["app"] != "bailiff" || result["verdict"] != "deny" || result["message"] != "why" ||
		input["hook"] != "exec" || input["env"] != nil || len(e.Erased) != 1 || e.Erased[0] != "/input/env" || len(e.Masked) != 1 || e.Masked[0] != "/input/args" {
		t.Errorf("%+v\ninput %v\nresult %v", e, input, result)
	}
}

// TestDecisionLogsConfig: what is wrong is said by its key.
func TestDecisionLogsConfig(t *testing.T) {
	for want, set := range map[string]func(*decisionLogsConfig){
		"decision_logs.url":        func(c *decisionLogsConfig) { c.URL = "ftp://x" },
		"decision_logs.verdicts":   func(c *decisionLogsConfig) { c.Verdicts = []string{"maybe"} },
		"decision_logs.file_keep":  func(c *decisionLogsConfig) { c.FileKeep = 0 },
		"decision_logs.file_bytes": func(c *decisionLogsConfig) { c.FileBytes = 5 },
		"decision_logs.max_delay":  func(c *decisionLogsConfig) { c.MaxDelay = 0 },
		"decision_logs.cert":       func(c *decisionLogsConfig) { c.Cert = "x" },
	} {
		var c decisionLogsConfig
		c.flags(pflag.NewFlagSet("", pflag.ContinueOnError))
		set(&c)
		if _, err := c.options(); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%s: %v", want, err)
		}
	}
}
