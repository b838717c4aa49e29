package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"example.com/bailiff/enforcer"
	"example.com/bailiff/internal/decisionlog"
	"example.com/bailiff/internal/event"
	"example.com/bailiff/policy"
)

// decisionLogsConfig says where decisions are written in OPA's format.
type decisionLogsConfig struct {
	File      string            `yaml:"file"`
	FileBytes int64             `yaml:"file_bytes"`
	FileKeep  int               `yaml:"file_keep"`
	URL       string            `yaml:"url"`
	TokenFile string            `yaml:"token_file"`
	CA        string            `yaml:"ca"`
	Cert      string            `yaml:"cert"`
	Key       string            `yaml:"key"`
	MaxDelay  time.Duration     `yaml:"max_delay"`
	Verdicts  []string          `yaml:"verdicts"`
	Labels    map[string]string `yaml:"labels"`
	Mask      []string          `yaml:"mask"`
}

func (c *decisionLogsConfig) flags(f *pflag.FlagSet) {
	f.StringVar(&c.File, "decision-log", "", "also write decisions to this file, in the format of OPA's decision logs")
	f.StringVar(&c.URL, "decision-log-url", "", "also post decisions to this URL as OPA does; TLS, token and masks are for the configuration file")
	c.FileBytes, c.FileKeep, c.MaxDelay = 100<<20, 5, 5*time.Second
	c.Verdicts, c.Labels, c.Mask = []string{"alert", "deny"}, map[string]string{}, []string{}
}

// options checks what can be checked before anything is touched.
func (c *decisionLogsConfig) options() (decisionlog.Options, error) {
	var o decisionlog.Options
	bad := func(key, format string, args ...any) (decisionlog.Options, error) {
		return o, &userError{Code: "config", Why: "decision_logs." + key + ": " + fmt.Sprintf(format, args...)}
	}
	if c.FileBytes < 1<<20 {
		return bad("file_bytes", "%d is less than %d", c.FileBytes, 1<<20)
	}
	if c.FileKeep < 1 {
		return bad("file_keep", "%d is less than 1", c.FileKeep)
	}
	if c.MaxDelay < 100*time.Millisecond {
		return bad("max_delay", "%v is less than 100ms", c.MaxDelay)
	}
	if u, err := url.Parse(c.URL); c.URL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return bad("url", "%q is no http or https URL", c.URL)
	}
	if (c.Cert == "") != (c.Key == "") {
		return bad("cert", "cert and key go together")
	}
	o.Verdicts = []event.Verdict{}
	for _, s := range c.Verdicts {
		v, err := event.ParseVerdict(s)
		if err != nil {
			return bad("verdicts", "%q is not one of none, allow, alert, deny", s)
		}
		o.Verdicts = append(o.Verdicts, v)
	}
	o.MaxBytes, o.Keep, o.URL, o.MaxDelay, o.Labels, o.Mask = c.FileBytes, c.FileKeep, c.URL, c.MaxDelay, c.Labels, c.Mask
	if c.File != "" {
		abs, err := filepath.Abs(c.File)
		if err != nil {
			return o, fmt.Errorf("find %s: %w", c.File, err)
		}
		o.File = abs
	}
	if c.TokenFile != "" {
		o.Token = func() (string, error) {
			b, err := os.ReadFile(c.TokenFile)
			return strings.TrimSpace(string(b)), err
		}
	}
	var err error
	o.Client, err = c.client()
	return o, err
}

// client calls the service, with the certificates that were named.
func (c *decisionLogsConfig) client() (*http.Client, error) {
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read CA of the decision log service: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(b) {
			return nil, &userError{Code: "config", File: c.CA, Why: "there is no certificate in it"}
		}
	}
	if c.Cert != "" {
		pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("read certificate for the decision log service: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		TLSClientConfig: t, Proxy: http.ProxyFromEnvironment, MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true,
	}}, nil
}

// decisionLog is the running log; nil if there is none.
type decisionLog struct {
	*decisionlog.Log
	done chan struct{}
}

// openDecisionLog starts the log, if one is asked for. It is stopped by the
// caller, when nothing is emitted any more.
func openDecisionLog(cfg *config, ag *agent) (*decisionLog, error) {
	c := &cfg.DecisionLogs
	if c.File == "" && c.URL == "" {
		return nil, nil
	}
	o, err := c.options()
	if err != nil {
		return nil, err
	}
	o.Run = event.Run{ID: ag.id.RunID, Boot: ag.id.BootID}
	o.Version, o.Input, o.Log = ag.id.Version, policy.InputJSON(), ag.log.Named("decision_log")
	o.Trouble = func(err error) {
		if err == nil {
			ag.Clear(enforcer.CondDecisionLogFailing)
			return
		}
		ag.Raise(enforcer.CondDecisionLogFailing, "decisions cannot be logged: "+err.Error())
	}
	l, err := decisionlog.New(o)
	if err != nil {
		return nil, &userError{Code: "config", Why: "decision_logs: " + err.Error(),
			Hint: "a mask is /input/args (taken out) or /input/process/comm=hidden (replaced)"}
	}
	d := &decisionLog{l, make(chan struct{})}
	go func() {
		defer close(d.done)
		l.Run(context.Background())
	}()
	return d, nil
}

// sinks adds the log to the ways out.
func (d *decisionLog) sinks(all ...enforcer.Sink) []enforcer.Sink {
	if d != nil {
		all = append(all, d.Log)
	}
	return all
}

func (d *decisionLog) stop() {
	if d != nil {
		d.Close()
		<-d.done
	}
}
