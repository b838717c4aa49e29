// Package redact hides secrets in events before anybody keeps or sends them:
// values of password options, of variables with telling names, and what looks
// like a credential. It runs after the decision, so it changes no verdict, and
// copies what it changes, because the policy may still be reading the original.
package redact

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"example.com/bailiff/internal/event"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// Redactor hides secrets by rules. It is safe for concurrent use.
type Redactor struct {
	rules  []*rule
	filter *filter // over the words of all rules
	counts []atomic.Uint64
}

// New checks the rules; a mistake in one is an *Error.
func New(rules []Rule) (*Redactor, error) {
	r := &Redactor{counts: make([]atomic.Uint64, len(rules))}
	var words [][]string
	for i, ru := range rules {
		c, err := compile(i, ru)
		if err != nil {
			return nil, err
		}
		r.rules = append(r.rules, c)
		words = append(words, c.words)
	}
	r.filter = newFilter(words)
	return r, nil
}

// Counts returns how many values each rule has hidden, by name.
func (r *Redactor) Counts() map[string]uint64 {
	out := make(map[string]uint64, len(r.rules))
	for i, ru := range r.rules {
		out[ru.Name] += r.counts[i].Load()
	}
	return out
}

// Event returns e, or, if it holds a secret, a copy without. What it hides in
// arguments and environment is hidden in the texts of that event too.
func (r *Redactor) Event(e *event.Event) *event.Event {
	if e.Agent != nil {
		return r.notice(e)
	}
	w := work{r: r}
	var args []string
	var env map[string]string
	if x := e.Exec; x != nil {
		program := ""
		if e.File != nil {
			program = base(e.File.Path)
		}
		args, env = w.args(x.Args, program), w.env(x.Env)
	}
	message := w.text(w.known(e.Decision.Message))
	if len(w.secrets) == 0 && message == e.Decision.Message {
		return e
	}
	out := *e
	out.Redacted = slices.Clone(e.Redacted)
	mark := func(field string, changed bool) {
		if changed && !slices.Contains(out.Redacted, field) {
			out.Redacted = append(out.Redacted, field)
		}
	}
	mark("decision.message", message != e.Decision.Message)
	out.Decision.Message = message
	if e.Exec == nil {
		return &out
	}
	x := *e.Exec
	mark("exec.args", !slices.Equal(args, x.Args))
	mark("exec.env", !maps.Equal(env, x.Env))
	x.Args, x.Env = args, env
	for field, s := range map[string]*string{
		"exec.cwd": &x.Cwd, "exec.opened_as": &x.OpenedAs, "exec.script": &x.Script, "exec.interpreter": &x.Interpreter, "exec.comm": &x.Comm,
	} {
		was := *s
		*s = w.known(was)
		mark(field, *s != was)
	}
	slices.Sort(out.Redacted)
	out.Exec = &x
	return &out
}

// notice hides credentials in what the agent says, such as the address that a
// bundle comes from.
func (r *Redactor) notice(e *event.Event) *event.Event {
	w := work{r: r}
	n := event.Notice{Code: e.Agent.Code, Text: w.text(e.Agent.Text), Fields: make(map[string]string, len(e.Agent.Fields))}
	for k, v := range e.Agent.Fields {
		n.Fields[k] = w.text(v)
	}
	if len(w.secrets) == 0 {
		return e
	}
	out := *e
	out.Redacted = []string{"agent.text"}
	if !maps.Equal(n.Fields, e.Agent.Fields) {
		out.Redacted = []string{"agent.fields", "agent.text"}
	}
	out.Agent = &n
	return &out
}

// Text hides credentials in a text that is no event.
func (r *Redactor) Text(s string) string {
	w := work{r: r}
	return w.text(s)
}

// work is the redaction of one event.
type work struct {
	r       *Redactor
	secrets []string // what was hidden
}

func (w *work) hide(rule int, secret string) string {
	if secret == "" || secret == Mark {
		return secret
	}
	w.r.counts[rule].Add(1)
	w.secrets = append(w.secrets, secret)
	return Mark
}

// args returns in, or a copy with secrets hidden. Options of one program count
// for what the caller calls it and for the name of the file that runs.
func (w *work) args(in []string, program string) []string {
	if len(in) == 0 {
		return in
	}
	called := base(in[0])
	var out []string
	set := func(i int, s string) {
		if out == nil && s != in[i] {
			out = slices.Clone(in)
		}
		if out != nil {
			out[i] = s
		}
	}
	script, value := false, -1 // a is a script; the rule by which it is a value
	for i, a := range in {
		if value >= 0 {
			set(i, w.hide(value, a))
			value = -1
			continue
		}
		var hit uint64
		if i > 0 {
			hit = w.r.filter.find(a)
		}
		was := a
		for n, ru := range w.r.rules {
			if hit == 0 {
				break
			}
			if hit&bit(n) == 0 || !ru.forProgram(called, program) {
				continue
			}
			at, is := ru.option(a)
			if !is && !script {
				at, is = ru.assignment(a)
			}
			switch {
			case is && at < len(a):
				a = a[:at] + w.hide(n, a[at:])
			case is:
				value = n
			default:
				continue
			}
			break
		}
		if i == 0 {
			hit = w.r.filter.find(a)
		}
		if a == was && value < 0 && hit != 0 {
			a = w.within(a, hit, called, program)
		}
		set(i, a)
		script = len(was) > 1 && was[0] == '-' && was[1] != '-' && was[len(was)-1] == 'c'
	}
	if out == nil {
		return in
	}
	return out
}

// env returns in, or a copy with secrets hidden.
func (w *work) env(in map[string]string) map[string]string {
	var out map[string]string
	for k, v := range in {
		if s := w.variable(k, v); s != v {
			if out == nil {
				out = maps.Clone(in)
			}
			out[k] = s
		}
	}
	if out == nil {
		return in
	}
	return out
}

func (w *work) variable(name, value string) string {
	hit := w.r.filter.find(name)
	for n, ru := range w.r.rules {
		if hit == 0 {
			break
		}
		if hit&bit(n) != 0 && ru.variable(name) {
			return w.hide(n, value)
		}
	}
	return w.text(value)
}

// text hides what the rules find inside of a text of no particular program.
func (w *work) text(s string) string { return w.within(s, w.r.filter.find(s)) }

func (w *work) within(s string, hit uint64, programs ...string) string {
	if hit == 0 {
		return s
	}
	for n, ru := range w.r.rules {
		if hit&bit(n) != 0 && ru.forProgram(programs...) {
			s = w.find(n, s)
		}
	}
	return s
}

func (w *work) find(n int, s string) string {
	for _, p := range w.r.rules[n].patterns {
		found := p.re.FindAllStringSubmatchIndex(s, -1)
		if found == nil {
			continue
		}
		var b strings.Builder
		last := 0
		for _, m := range found {
			from, to := m[2*p.group], m[2*p.group+1]
			if from < last || from == to {
				continue
			}
			b.WriteString(s[last:from])
			b.WriteString(w.hide(n, s[from:to]))
			last = to
		}
		s = b.String() + s[last:]
	}
	return s
}

// known hides what was found elsewhere in the same event, as it is and as it
// looks inside of a quoted string.
func (w *work) known(s string) string {
	for _, secret := range w.secrets {
		s = replace(s, secret)
		if q, err := json.Marshal(secret); err == nil {
			s = replace(s, string(q[1:len(q)-1]))
		}
	}
	return s
}

// shortSecret is the length up to which a secret is only taken for itself
// where no letter or digit is beside it.
const shortSecret = 3

func replace(s, secret string) string {
	if len(secret) > shortSecret {
		return strings.ReplaceAll(s, secret, Mark)
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		end := i + len(secret)
		if strings.HasPrefix(s[i:], secret) && (i == 0 || !wordByte(s[i-1])) && (end == len(s) || !wordByte(s[end])) {
			b.WriteString(Mark)
			i = end
			continue
		}
		b.WriteByte(s[i])
		i++
	}
	return b.String()
}

func wordByte(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

// base is the last component of the name that a program was called by.
func base(arg0 string) string {
	return strings.TrimPrefix(arg0[strings.LastIndexByte(arg0, '/')+1:], "-")
}
