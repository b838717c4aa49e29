package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"example.com/bailiff/internal/sink/dial"
	"example.com/bailiff/internal/sink/file"
	"example.com/bailiff/internal/sink/ocsf"
)

// sinkConfig is one way out for events. Which keys it may have is a matter of
// its type.
type sinkConfig struct {
	Name   string `yaml:"name"`
	Type   string `yaml:"type"`   // file, otlp, nats, syslog
	Format string `yaml:"format"` // ocsf, ecs, json
	Select string `yaml:"select"` // all, findings

	OCSFVersion string `yaml:"ocsf_version"`
	Findings    bool   `yaml:"findings"`

	Path     string        `yaml:"path"` // file
	MaxBytes int64         `yaml:"max_bytes"`
	MaxAge   time.Duration `yaml:"max_age"`
	Keep     int           `yaml:"keep"`

	Address string            `yaml:"address"` // otlp, syslog
	Headers map[string]string `yaml:"headers"` // otlp
	Body    string            `yaml:"body"`    // otlp: record, message

	Facility *int `yaml:"facility"` // syslog

	Servers     []string `yaml:"servers"` // nats
	Subject     string   `yaml:"subject"`
	Stream      string   `yaml:"stream"`
	Credentials string   `yaml:"credentials"`

	Plain      bool   `yaml:"plain"`
	CA         string `yaml:"ca"`
	Cert       string `yaml:"cert"`
	Key        string `yaml:"key"`
	ServerName string `yaml:"server_name"`
}

// sinkTypes says which keys each type has beside those that all have.
var sinkTypes = map[string][]string{
	"file":   {"path", "max_bytes", "max_age", "keep"},
	"otlp":   {"address", "headers", "body", "plain", "ca", "cert", "key", "server_name"},
	"nats":   {"servers", "subject", "stream", "credentials", "ca", "cert", "key", "server_name"},
	"syslog": {"address", "facility", "plain", "ca", "cert", "key", "server_name"},
}

var sinkCommon = []string{"name", "type", "format", "select", "ocsf_version", "findings"}

// sinkProblem is what is wrong with one key of a way out.
type sinkProblem struct{ key, why, hint string }

var sinkName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]{0,57}$`)

// check fills in defaults and returns the first thing that is wrong.
func (s *sinkConfig) check() *sinkProblem {
	keys, known := sinkTypes[s.Type]
	switch {
	case s.Type == "":
		return &sinkProblem{"", "it has no type", "type is one of file, nats, otlp, syslog"}
	case !known:
		hint := "type is one of file, nats, otlp, syslog"
		if n := nearest(s.Type, []string{"file", "nats", "otlp", "syslog"}); n != "" {
			hint = fmt.Sprintf("did you mean %q?", n)
		}
		return &sinkProblem{"type", fmt.Sprintf("type %q is not known", s.Type), hint}
	}
	for key := range s.given() {
		if !slices.Contains(sinkCommon, key) && !slices.Contains(keys, key) {
			return &sinkProblem{key, fmt.Sprintf("a way out of type %s has no %s", s.Type, key), "it has " + strings.Join(keys, ", ")}
		}
	}
	defaultTo(&s.Name, s.Type)
	defaultTo(&s.Format, "ocsf")
	defaultTo(&s.Select, "all")
	defaultTo(&s.OCSFVersion, ocsf.Version18)
	switch {
	case !sinkName.MatchString(s.Name):
		return &sinkProblem{"name", fmt.Sprintf("%q is no name", s.Name), "a name has 1 to 58 letters, digits, dots, dashes and underscores, and does not begin with a dot"}
	case !slices.Contains([]string{"ocsf", "ecs", "json"}, s.Format):
		return &sinkProblem{"format", fmt.Sprintf("format %q is not one of ocsf, ecs, json", s.Format), ""}
	case s.Select != "all" && s.Select != "findings":
		return &sinkProblem{"select", fmt.Sprintf("%q is not one of all, findings", s.Select), ""}
	case s.OCSFVersion != ocsf.Version18 && s.OCSFVersion != ocsf.Version11:
		return &sinkProblem{"ocsf_version", fmt.Sprintf("%q is not one of %s, %s", s.OCSFVersion, ocsf.Version18, ocsf.Version11), ""}
	case (s.Cert == "") != (s.Key == ""):
		return &sinkProblem{"cert", "cert and key go together", ""}
	}
	if s.Plain && (s.CA != "" || s.Cert != "" || s.ServerName != "") {
		return &sinkProblem{"plain", "plain says that there is no TLS, but there are settings for it", "remove one of them"}
	}
	return s.checkType()
}

// given lists the keys that have a value.
func (s *sinkConfig) given() map[string]bool {
	out := map[string]bool{}
	v := reflect.ValueOf(s).Elem()
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			out[v.Type().Field(i).Tag.Get("yaml")] = true
		}
	}
	return out
}

func defaultTo(s *string, to string) {
	if *s == "" {
		*s = to
	}
}

func (s *sinkConfig) checkType() *sinkProblem {
	switch s.Type {
	case "file":
		switch {
		case s.Path == "":
			return &sinkProblem{"", "it has no path", "path: /var/log/bailiff/events.jsonl, or - for standard output"}
		case s.Path != file.Stdout && !filepath.IsAbs(s.Path):
			return &sinkProblem{"path", fmt.Sprintf("%q is not an absolute path", s.Path), ""}
		case s.MaxBytes < 0 || s.MaxBytes > 0 && s.MaxBytes < 1<<16:
			return &sinkProblem{"max_bytes", fmt.Sprintf("%d is less than %d", s.MaxBytes, 1<<16), "0 is the default, 100 MiB"}
		case s.MaxAge < 0 || s.Keep < 0:
			return &sinkProblem{"keep", "it is less than 0", ""}
		}
	case "nats":
		if len(s.Servers) == 0 {
			return &sinkProblem{"", "it has no servers", "servers: [nats://host:4222]"}
		}
		if strings.ContainsAny(s.Subject, " *>") {
			return &sinkProblem{"subject", fmt.Sprintf("%q is no subject to publish on", s.Subject), "it is the beginning of one, such as bailiff.events"}
		}
	default:
		if s.Address == "" {
			return &sinkProblem{"", "it has no address", "address: host:port"}
		}
		if _, _, err := net.SplitHostPort(s.Address); err != nil {
			return &sinkProblem{"address", err.Error(), "address: host:port"}
		}
		if s.Facility != nil && (*s.Facility < 0 || *s.Facility > 23) {
			return &sinkProblem{"facility", fmt.Sprintf("%d is not 0 to 23", *s.Facility), ""}
		}
		if s.Body != "" && s.Body != "record" && s.Body != "message" {
			return &sinkProblem{"body", fmt.Sprintf("%q is not one of record, message", s.Body), ""}
		}
	}
	if s.Credentials != "" {
		if _, err := os.Stat(s.Credentials); err != nil {
			return &sinkProblem{"credentials", err.Error(), ""}
		}
	}
	if s.Type != "file" && !s.Plain {
		if _, err := s.tls().Config(); err != nil {
			return &sinkProblem{"ca", err.Error(), ""}
		}
	}
	return nil
}

func (s *sinkConfig) tls() dial.TLS {
	return dial.TLS{CA: s.CA, Cert: s.Cert, Key: s.Key, ServerName: s.ServerName}
}

// checkSinks checks all ways out of a file, which stands in text.
func (c *config) checkSinks(path string, text []byte) error {
	for i := range c.Sinks {
		p := c.Sinks[i].check()
		if p == nil {
			for _, other := range c.Sinks[:i] {
				if other.Name == c.Sinks[i].Name {
					p = &sinkProblem{"name", fmt.Sprintf("two ways out have the name %s", other.Name), "each keeps its place under its name: give it another one"}
				}
			}
		}
		if p != nil {
			return &userError{Code: "config", File: path, Line: sinkLine(text, i, p.key), Why: "sinks: " + p.why, Hint: p.hint}
		}
	}
	return nil
}

// sinkLine is where a key of a way out stands in the file, or the way out.
func sinkLine(text []byte, i int, key string) int {
	for _, at := range []string{fmt.Sprintf("$.sinks[%d].%s", i, key), fmt.Sprintf("$.sinks[%d]", i)} {
		p, err := yaml.PathString(at)
		if err != nil {
			continue
		}
		if n, err := p.ReadNode(bytes.NewReader(text)); err == nil && n != nil && n.GetToken() != nil {
			return n.GetToken().Position.Line
		}
	}
	return 0
}
