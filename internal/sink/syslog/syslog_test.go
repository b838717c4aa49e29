package syslog

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"

	"example.com/bailiff/internal/sink"
	"example.com/bailiff/internal/sink/dial"
	"example.com/bailiff/internal/sink/ecs"
	"example.com/bailiff/internal/sink/sinktest"
)

func ids(t *testing.T, lines []string) (out []string) {
	t.Helper()
	for _, l := range lines {
		_, body, ok := strings.Cut(l, "\ufeff")
		var r struct{ Event struct{ ID string } }
		if err := json.Unmarshal([]byte(body), &r); err != nil || !ok {
			t.Fatalf("%v: %q", err, l)
		}
		out = append(out, r.Event.ID)
	}
	return out
}

// TestRsyslog: a real rsyslog over TLS, with client certificates, that goes
// away and comes back.
func TestRsyslog(t *testing.T) {
	certs := sinktest.MakeCerts(t)
	p := sinktest.NewRsyslog(t, certs)
	o := Options{Address: p.Address, TLS: dial.TLS{CA: certs.CA, Cert: certs.ClientCert, Key: certs.ClientKey}, Facility: DefaultFacility, Host: sinktest.Host(), Timeout: 5 * time.Second}
	r := sinktest.NewRig(t)
	r.Start(ecs.New(o.Host), New(o))
	r.Emit(2000)
	r.Drained()
	r.Emit(1500)
	p.Stop()
	sinktest.Eventually(t, "the receiver is missed", func() bool { return r.Trouble() != nil })
	r.Emit(1500)
	p.Start()
	r.Drained()
	r.Restart() // the agent
	r.Start(ecs.New(o.Host), New(o))
	r.Emit(100)
	r.Drained()
	sinktest.Eventually(t, "all is written", func() bool {
		lines := p.Lines()
		return len(lines) > 0 && strings.Contains(lines[len(lines)-1], "run2/100\"")
	})
	lines := p.Lines()
	again := sinktest.Compare(t, ids(t, lines), r.All())
	t.Logf("%d messages came twice", again)

	// What arrived is what RFC 5424 says.
	form := regexp.MustCompile(`^1(10|07) \d{4}-\d\d-\d\dT\S+ web-1\.example\.com bailiff exec \[origin software="bailiff" swVersion="v0\.1\.0"\]\[meta sequenceId="\d+"\] `)
	for _, l := range lines {
		if !form.MatchString(l) {
			t.Fatalf("message %q", l)
		}
	}
}

// TestWrongCA: a receiver that cannot be trusted gets nothing.
func TestWrongCA(t *testing.T) {
	p := sinktest.NewRsyslog(t, sinktest.MakeCerts(t))
	s := New(Options{Address: p.Address, TLS: dial.TLS{CA: sinktest.MakeCerts(t).CA}, Timeout: 5 * time.Second})
	if _, err := s.Send(t.Context(), nil); err == nil {
		t.Error("a stranger is trusted")
	}
}

// TestEndedEarly: a receiver that ends the connection by itself has perhaps not
// read all of it.
func TestEndedEarly(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	record := ecs.New(sinktest.Host()).Map(nil, sinktest.Events()[0].Item)
	for name, tt := range map[string]struct {
		receiver  func(net.Conn)
		confirmed bool
	}{
		"reads to the end":          {func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }, true},
		"ends at once":              {func(c net.Conn) {}, false},
		"ends after the first byte": {func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }, false},
	} {
		accepted := make(chan struct{})
		go func() {
			defer close(accepted)
			c, err := l.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			tt.receiver(c)
			c.Close()
		}()
		s := New(Options{Address: l.Addr().String(), Plain: true, Timeout: 5 * time.Second, Host: sinktest.Host()})
		if !tt.confirmed && name == "ends at once" {
			if err := s.connect(context.Background()); err != nil {
				t.Fatal(err)
			}
			<-accepted // its end is here before our first byte
		}
		_, err := s.Send(t.Context(), record)
		if err == nil {
			_, err = s.Confirm(t.Context())
		}
		if (err == nil) != tt.confirmed {
			t.Errorf("%s: %v", name, err)
		}
		<-accepted
	}
}

// TestFrame: the length is that of the message, and no text breaks the header.
func TestFrame(t *testing.T) {
	s := New(Options{Facility: 13, Host: sink.Host{Name: "a b\n", Version: `v"]\`}})
	for _, n := range sinktest.Events() {
		for _, r := range ecs.New(sinktest.Host()).Map(nil, n.Item) {
			length, rest, _ := strings.Cut(string(s.frame(nil, &r)), " ")
			var want int
			if err := json.Unmarshal([]byte(length), &want); err != nil || want != len(rest) {
				t.Errorf("%s: length %s of %d", n.Name, length, len(rest))
			}
			if !strings.Contains(rest, ` a_b_ bailiff - `+name(n.Item.Name(), 32)+` [origin software="bailiff" swVersion="v___"]`) || strings.Contains(rest, "\n") {
				t.Errorf("%s: %q", n.Name, rest)
			}
		}
	}
}
