package sinktest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Rsyslog is a real rsyslogd that takes syslog over TLS and writes each message
// as a line.
type Rsyslog struct {
	Address string
	out     string
	t       *testing.T
	Program *Program
}

// NewRsyslog starts one.
func NewRsyslog(t *testing.T, certs Certs) *Rsyslog {
	t.Helper()
	bin, err := exec.LookPath("rsyslogd")
	if err != nil {
		Missing(t, "rsyslogd: install rsyslog and rsyslog-gnutls")
	}
	dir := t.TempDir()
	r := &Rsyslog{t: t, Address: freeAddress(t), out: filepath.Join(dir, "out")}
	_, port, _ := strings.Cut(r.Address, ":")
	text := fmt.Sprintf(`
global(workDirectory="%[1]s" maxMessageSize="64k" defaultNetstreamDriver="gtls" defaultNetstreamDriverCAFile="%[2]s"
	defaultNetstreamDriverCertFile="%[3]s" defaultNetstreamDriverKeyFile="%[4]s" parser.escapeControlCharactersOnReceive="off")
module(load="imtcp" streamDriver.name="gtls" streamDriver.mode="1" streamDriver.authMode="x509/certvalid")
input(type="imtcp" port="%[5]s" address="127.0.0.1")
template(name="line" type="string" string="%%pri%% %%timestamp:::date-rfc3339%% %%hostname%% %%app-name%% %%msgid%% %%structured-data%% %%msg%%\n")
action(type="omfile" file="%[6]s" template="line")
`, dir, certs.CA, certs.Cert, certs.Key, port, r.out)
	conf := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	r.Program = &Program{Args: []string{bin, "-n", "-f", conf, "-i", filepath.Join(dir, "pid")}}
	r.Start()
	return r
}

// Start starts it again after Stop.
func (r *Rsyslog) Start() {
	r.t.Helper()
	r.Program.Start(r.t)
	r.Program.Listens(r.t, r.Address)
}

// Stop ends it.
func (r *Rsyslog) Stop() { r.Program.Stop(r.t) }

// Lines returns what it has written.
func (r *Rsyslog) Lines() []string {
	b, err := os.ReadFile(r.out)
	if err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	s := strings.TrimSuffix(string(b), "\n")
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}
