package main

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// sinkOf reads the short form that --sink takes:
//
//	file:/var/log/bailiff/events.jsonl   otlp://host:4317   nats://host:4222   syslog://host:6514
//
// each with ?key=value for the other keys of the configuration file.
func sinkOf(text string) (sinkConfig, error) {
	bad := func(format string, args ...any) (sinkConfig, error) {
		return sinkConfig{}, &userError{Code: "sink", Why: fmt.Sprintf("--sink %q: ", text) + fmt.Sprintf(format, args...),
			Hint: "for example --sink file:/var/log/bailiff/events.jsonl or --sink 'otlp://collector:4317?format=ecs'"}
	}
	u, err := url.Parse(text)
	if err != nil {
		return bad("%v", err)
	}
	s := sinkConfig{Type: u.Scheme}
	switch u.Scheme {
	case "file":
		s.Path = u.Path + u.Opaque
	case "otlp", "syslog":
		s.Address = u.Host
	case "nats":
		s.Servers = []string{"nats://" + u.Host}
	}
	text2 := map[string]*string{
		"name": &s.Name, "format": &s.Format, "select": &s.Select, "ocsf_version": &s.OCSFVersion, "body": &s.Body, "subject": &s.Subject,
		"stream": &s.Stream, "credentials": &s.Credentials, "ca": &s.CA, "cert": &s.Cert, "key": &s.Key, "server_name": &s.ServerName,
	}
	for k, values := range u.Query() {
		v := values[len(values)-1]
		to, ok := text2[k]
		switch {
		case ok:
			*to = v
		case k == "findings":
			s.Findings, err = strconv.ParseBool(v)
		case k == "plain":
			s.Plain, err = strconv.ParseBool(v)
		case k == "max_bytes":
			s.MaxBytes, err = strconv.ParseInt(v, 10, 64)
		case k == "keep":
			s.Keep, err = strconv.Atoi(v)
		default:
			return bad("%s is no key here; the configuration file has all", k)
		}
		if err != nil {
			return bad("%s: %v", k, err)
		}
	}
	if p := s.check(); p != nil {
		return bad("%s", strings.TrimSuffix(p.why+"; "+p.hint, "; "))
	}
	return s, nil
}

// addSinks adds what --sink says to what the file says. A way out of the same
// name goes before that of the file.
func (c *config) addSinks() error {
	var mine []string
	for _, text := range c.SinkFlags {
		s, err := sinkOf(text)
		if err != nil {
			return err
		}
		if slices.Contains(mine, s.Name) {
			return &userError{Code: "sink", Why: fmt.Sprintf("--sink: two ways out have the name %s", s.Name), Hint: "add ?name=NAME: each keeps its place under its name"}
		}
		mine = append(mine, s.Name)
		c.Sinks = slices.DeleteFunc(c.Sinks, func(o sinkConfig) bool { return o.Name == s.Name })
		c.Sinks = append(c.Sinks, s)
	}
	return nil
}
